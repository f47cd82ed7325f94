"""Fine-tuning a language model on selections, and judging it: the parts of experiments.finetune."""

"""Packaging of mig_jax."""

import pathlib
import re

import setuptools

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "mig_jax/_version.py").read_text())[1]

# Extras that others build on.
TOKENS = ["tokenizers>=0.22"]
ANNOTATE = [
    "datasketch>=2.0",
    "sentence-transformers>=5.0",
    "torch>=2.4",
    "transformers>=4.56",
    *TOKENS,
]
# Pretrained models: GGUF (MIT, of llama.cpp) and safetensors (Apache-2.0), both NumPy alone.
FINETUNE = ["gguf>=0.17", "safetensors>=0.4", *TOKENS]
# Models on a server. httpx2 (BSD-3-Clause) is httpx, kept up by Pydantic since httpx's own releases
# ended in 2024, and what OpenAI's client sends by. That client itself is 30 MB and brings pydantic;
# it types what well-behaved servers say and retries by rules of its own: neither helps here.
ENDPOINT = ["httpx2>=2.12"]
HUB = ["datasets>=3.0"]
NOTEBOOKS = ["ipykernel>=6.29"]
# Those whose loaders read what select writes. LLaMA-Factory and axolotl pin other versions than
# TRL: they are tested too if they are installed without what they need (.ci/run does so).
TRAINERS = [
    "grain>=0.2.12",
    "peft>=0.18",
    "torch>=2.4",
    "transformers>=4.56",
    "trl>=1.0",
    *HUB,
]
# Completion in shells (MPL-2.0): static scripts, so that a key press starts no Python.
COMPLETION = ["shtab>=1.13"]
RUN_NOTEBOOKS = ["jupytext>=1.16", "nbclient>=0.10", "nbformat>=5.10", *NOTEBOOKS]
TEST = [
    "beartype>=0.19",
    "filelock>=3.12",
    "hypothesis>=6.100",
    "import-linter>=2.1",
    "markdown-it-py>=3.0",
    "mypy>=1.10",
    "pytest>=8",
    "pytest-xdist>=3.6",
    "ruff>=0.6",
    *COMPLETION,
    *ENDPOINT,
    *FINETUNE,
    *HUB,
    *RUN_NOTEBOOKS,
]
# Formulas become pictures when pages are made: ziamath (MIT) needs neither LaTeX nor a network.
DOCS = [
    "furo>=2024.8.6",
    "myst-nb>=1.3",
    "myst-parser>=4.0",
    "sphinx>=8.1",
    "sphinxcontrib-programoutput>=0.18",
    "ziamath>=0.12",
]

setuptools.setup(
    name="mig-jax",
    version=VERSION,
    description="Chooses instruction-tuning data by information over a label graph, in JAX",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    author="The mig_jax authors",
    license="Apache-2.0",
    license_files=["LICENSE"],
    keywords=["data selection", "instruction tuning", "submodular", "JAX"],
    python_requires=">=3.11",
    packages=setuptools.find_packages(include=["mig_jax", "mig_jax.*"]),
    package_data={
        "": ["*.pyi"],
        "mig_jax": ["py.typed"],
        "mig_jax.reports": ["*.css", "*.html", "*.js", "*.md"],
    },
    install_requires=[
        "absl-py>=2.1",
        "chex>=0.1.90",
        "flax>=0.12",
        "fsspec>=2024.2",
        "jax>=0.10",
        "jaxtyping>=0.3",
        "jinja2>=3.1",
        "lazy-loader>=0.4",
        "matplotlib>=3.8",
        "msgspec>=0.19",
        "networkx>=3.5",
        "numpy>=2.0",
        "optax>=0.2.4",
        "orbax-checkpoint>=0.11",
        "platformdirs>=4.2",
        "pyarrow>=17",
        "scikit-learn>=1.6",
        "scipy>=1.11",
        "threadpoolctl>=3.1",
        "tqdm>=4.66",
        "xxhash>=3.5",
        "zstandard>=0.23",
    ],
    extras_require={
        "annotate": ANNOTATE,
        "bench": [
            "apricot-select>=0.6.1",
            "jsonlines>=4.0",
            "numba>=0.60",
            "pydantic>=2.9",
        ],
        "completion": COMPLETION,
        "cuda": ["jax[cuda13]>=0.10"],
        "dev": ["pre-commit>=4.0", *TEST],
        "docs": DOCS,
        "endpoint": ENDPOINT,
        "finetune": FINETUNE,
        "hub": HUB,
        "notebooks": NOTEBOOKS,
        "ray": ["ray[data]>=2.60"],
        "test": TEST,
        "tokens": TOKENS,
        "tpu": ["jax[tpu]>=0.10"],
        "trainers": TRAINERS,
    },
    entry_points={"console_scripts": ["mig-jax = mig_jax.__main__:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)

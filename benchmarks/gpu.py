"""The table of table.py on a CUDA device, by the same code.

python benchmarks/gpu.py [--quick] [--models digits,vit] [--rounds 3]
"""

from __future__ import annotations

import torch
from table import main

if __name__ == "__main__":
    if torch.cuda.is_available():
        torch.backends.cudnn.allow_tf32 = False  # float32 for every tool, as in the peak they are compared with
        main("cuda")
    else:
        print("gpu.py: torch sees no CUDA device here, so nothing was measured. Run table.py for the CPU.")

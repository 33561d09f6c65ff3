"""Measures what keeping freed memory saves: the processor time of prefills, and the pages that the kernel maps.

Each side runs in a process of its own, on one thread, with random weights of SmolLM2-135M's shape. Prints only.
"""

import argparse
import os
import resource
import subprocess
import sys

ROWS, TOKENS = 4, 256


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prefills", type=int, default=5, help=f"prefills of {ROWS} x {TOKENS} tokens to measure")
    parser.add_argument("--side", choices=["kept", "returned"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        _measure(options.side == "kept", options.prefills)
        return 0
    left = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    for side in ("returned", "kept"):
        command = [sys.executable, __file__, "--side", side, "--prefills", str(options.prefills)]
        subprocess.run(command, env=left | {"OMP_NUM_THREADS": "1"}, check=True)
    return 0


def _measure(is_kept: bool, prefills: int) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from rolesum.models.allocator import keep_freed_memory

    if is_kept and not keep_freed_memory():
        raise SystemExit("this C library cannot be told to keep freed memory")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    shape = {"num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "tie_word_embeddings": True}
    config = LlamaConfig(vocab_size=49152, hidden_size=576, intermediate_size=1536, **shape)
    model = LlamaForCausalLM(config).eval().model
    ids = torch.randint(0, config.vocab_size, (ROWS, TOKENS))
    with torch.no_grad():
        model(ids)
        before = resource.getrusage(resource.RUSAGE_SELF)
        for _ in range(prefills):
            model(ids)
        after = resource.getrusage(resource.RUSAGE_SELF)
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    pages = after.ru_minflt - before.ru_minflt
    print(f"freed memory is {'kept' if is_kept else 'returned'}: {user + system:.2f} s of processor time, ", end="")
    print(f"{system:.2f} s of it in the kernel; {pages:,} pages mapped")


if __name__ == "__main__":
    raise SystemExit(main())

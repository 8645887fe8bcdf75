"""The peer: greedy `generate` of transformers, for each line of standard input.

A line is [prompts as lists of ids of one length, new tokens]; what is printed are its
seconds. It runs in a process of its own, on the CPU: PyTorch's threads and XLA's, kept
waiting in one process, slow each other down.
"""

import json
import os
import sys
import time

import torch
import transformers


def main() -> None:
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1]).eval()
    model.generation_config.eos_token_id = None  # as many tokens as are asked
    for line in sys.stdin:
        prompts, new = json.loads(line)
        ids = torch.tensor(prompts)
        began = time.perf_counter()
        with torch.inference_mode():
            model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=new,
                pad_token_id=0,
            )
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    main()

"""Answers the benches: one JSON request a line on standard input, one JSON answer a line on standard output.

{"do": "describe"} → versions, threads, the BLAS and its kernels
{"do": "prepare", "what": "product", "library": …, "n": …} or {"do": "prepare", "what": "step", "spec": …, "file": …} → {"task": number}
{"do": "block", "task": …, "milliseconds": …, "least": …} → {"times": [milliseconds of each run], "result": of the last run or null}
{"do": "release", "task": …} → {}
{"do": "memory"} → {"peakBytes": the largest resident set of this process so far}
{"do": "gradients" | "optimizer" | "recipe", …} → what gradients.py, recipe.py say

Blocks are short and take turns with ours, so that a busy machine slows both. Threads are set by the environment before this starts.
A request that fails is answered with {"error": message}. Run by itself: python3 peer.py '{"do": …}' answers its arguments and ends.
"""

import json
import os
import resource
import sys
import time

THREADS = int(os.environ.get("OMP_NUM_THREADS", "1"))


def torch_module():
    import torch

    torch.set_num_threads(THREADS)
    return torch


class Peer:
    def __init__(self):
        self.tasks = {}
        self.next = 0

    def describe(self, _):
        import numpy

        import products

        try:
            torch = torch_module()
            version = torch.__version__
            capability = next((line.strip() for line in torch.__config__.show().splitlines() if "CPU capability" in line), "")
        except ImportError as error:
            version, capability = None, f"missing: {error}"
        return {
            "torch": version,
            "capability": capability,
            "numpy": numpy.__version__,
            "blas": products.blas_name(),
            "threads": THREADS,
        }

    def prepare(self, request):
        if request["what"] == "product":
            import products

            if request["library"] == "pytorch":
                torch_module()
            run = products.PRODUCTS[request["library"]](request["n"])
            task = lambda: (run(), None)[1]
        else:
            torch_module()
            import steps

            task = steps.training_step(request["spec"], request.get("file"))
        self.next += 1
        self.tasks[self.next] = task
        return {"task": self.next}

    def block(self, request):
        run = self.tasks[request["task"]]
        times, result = [], None
        end = time.perf_counter() + request["milliseconds"] / 1e3
        while len(times) < request.get("least", 1) or time.perf_counter() < end:
            start = time.perf_counter()
            result = run()
            times.append((time.perf_counter() - start) * 1e3)
        return {"times": times, "result": result}

    def release(self, request):
        self.tasks.pop(request["task"], None)
        return {}

    def memory(self, _):
        # Linux hands ru_maxrss down from the process that started this one, so its own high-water mark is read where there is one.
        try:
            with open("/proc/self/status", encoding="ascii") as status:
                kilobytes = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
        except OSError:
            kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {"peakBytes": kilobytes * 1024}

    def gradients(self, request):
        torch_module()
        import gradients

        return gradients.gradients(request)

    def optimizer(self, request):
        torch_module()
        import gradients

        return gradients.optimizer(request)

    def recipe(self, request):
        torch_module()
        import recipe

        return recipe.recipe(request)

    def answer(self, request):
        names = ("describe", "prepare", "block", "release", "memory", "gradients", "optimizer", "recipe")
        if request["do"] not in names:
            raise ValueError(f"no request {request['do']}")
        return getattr(self, request["do"])(request)


def main():
    peer = Peer()
    for line in sys.argv[1:] or sys.stdin:
        try:
            answer = peer.answer(json.loads(line))
        except Exception as error:  # whatever it is, the other side prints it
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


main()

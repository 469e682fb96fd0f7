"""What importing the model leaves out, in a process of its own."""

import subprocess
import sys

IMPORT = "import sys; import possam_core.predictor, possam_core.training; "


def printed(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", IMPORT + program], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_neither_torchs_compiler_nor_transformers_is_imported() -> None:
    assert (
        printed("print({'torch._dynamo', 'transformers', 'sympy'} & set(sys.modules))") == "set()"
    )


def test_what_was_left_out_is_imported_when_it_is_used() -> None:
    program = (
        "import torch, transformers, open_clip.timm_model;"
        "assert open_clip.timm_model.timm is not None;"
        "roi_align = sys.modules['torchvision.ops.roi_align'];"
        "assert roi_align.is_compile_supported('cpu');"
        "assert torch._dynamo.utils.counters is not None;"
        "assert torch.compiler.disable.__module__ == 'torch.compiler';"
        "print(torch.compile(torch.sin, backend='eager')(torch.zeros(1)).item(),"
        " transformers.AutoModel.__name__)"
    )
    assert printed(program) == "0.0 AutoModel"

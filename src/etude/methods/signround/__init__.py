"""SignRound (arXiv 2309.05516): weight-only quantization to 2-8 bits with rounding tuned by signed gradients.

    from pathlib import Path
    from etude.methods.signround import quantize, load_quantized
    result = quantize("smollm2", scheme="w3g64a", out=Path("q3"))      # checkpoints and a report
    model = load_quantized("q3/compressed-tensors").dequantize()       # any transformers model again
    # the core without files: quantize_model(model, tokenizer, samples, QuantScheme(bits=2, group_size=64))

RTN, GPTQ and AWQ are here as equals, at the same formats. Read `grid` (what a quantized weight is),
`rounding` (the analytic gradient), `tuner` (the SignSGD loop), `blockwise` (block after block), `exports`
(file formats).
"""

from typing import TYPE_CHECKING

from etude.methods import lazy

if TYPE_CHECKING:
    from etude.methods.signround.blockwise import quantize_model as quantize_model
    from etude.methods.signround.comparison import compare as compare
    from etude.methods.signround.evaluation import evaluate as evaluate
    from etude.methods.signround.exports import load_quantized as load_quantized
    from etude.methods.signround.inspection import inspect as inspect
    from etude.methods.signround.quantized_model import QuantizedModel as QuantizedModel
    from etude.methods.signround.quantizer import quantize as quantize
    from etude.methods.signround.schemes import QuantScheme as QuantScheme
    from etude.methods.signround.tuner import RoundingConfig as RoundingConfig

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "QuantScheme": "schemes",
        "QuantizedModel": "quantized_model",
        "RoundingConfig": "tuner",
        "compare": "comparison",
        "evaluate": "evaluation",
        "inspect": "inspection",
        "load_quantized": "exports",
        "quantize": "quantizer",
        "quantize_model": "blockwise",
    },
)

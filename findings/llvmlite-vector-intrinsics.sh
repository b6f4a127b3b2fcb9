#!/usr/bin/env bash
# llvmlite has vector types and vector arithmetic, but names no intrinsic of a vector.
#
# Guess:   builder.fma of three <16 x float> gives a call of llvm.fma.v16f32, as builder.fadd of two gives a vector sum.
# Seen:    builder.fma raises TypeError ("expected an floating point type, got <16 x float>"), Module.declare_intrinsic
#          AttributeError ('VectorType' object has no attribute 'intrinsic_name'), of every intrinsic. Declared as a
#          plain function of that name, it is taken, compiled, and right: sixteen products are rounded once.
# With:    llvmlite 0.47.0
# Matters: kernels of numba that write vector instructions by hand need fused multiply-adds of vectors.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check llvmlite==0.47.0

venv/bin/python - <<'PYTHON'
import ctypes
import llvmlite
from llvmlite import binding, ir

print("llvmlite", llvmlite.__version__)
single, lanes = ir.FloatType(), 16
vector = ir.VectorType(single, lanes)
module = ir.Module()
function = ir.Function(module, ir.FunctionType(ir.VoidType(), [single.as_pointer()] * 4), "fused")
builder = ir.IRBuilder(function.append_basic_block())
*factors, out = (builder.bitcast(argument, vector.as_pointer()) for argument in function.args)
x, y, z = (builder.load(pointer, align=4) for pointer in factors)
print("a sum of vectors:", builder.fadd(x, y).type)
for name, attempt in {"builder.fma": lambda: builder.fma(x, y, z),
                      "declare_intrinsic": lambda: module.declare_intrinsic("llvm.fma", [vector])}.items():
    try:
        attempt()
    except (TypeError, AttributeError) as error:
        print(f"{name}: {type(error).__name__}: {error}")
    else:
        raise SystemExit(f"{name} takes vectors now")
declared = ir.Function(module, ir.FunctionType(vector, [vector] * 3), "llvm.fma.v16f32")
builder.store(builder.call(declared, [x, y, z]), out, align=4)
builder.ret_void()

binding.initialize_native_target()
binding.initialize_native_asmprinter()
machine = binding.Target.from_default_triple().create_target_machine()
engine = binding.create_mcjit_compiler(binding.parse_assembly(str(module)), machine)
engine.finalize_object()
kind = ctypes.c_float * lanes
call = ctypes.CFUNCTYPE(None, *[ctypes.POINTER(kind)] * 4)(engine.get_function_address("fused"))
near, result = 1 + 2**-12, kind()
call(*(ctypes.byref(values) for values in (kind(*[near] * lanes), kind(*[near] * lanes), kind(*[-1.0] * lanes), result)))
print("(1 + 2^-12)^2 - 1, rounded once:", set(result))
assert set(result) == {2**-11 + 2**-24}  # a rounded product would have lost the last bit
PYTHON

"""Lower scheduled TVM functions to plain C functions in one object file.

TVM's packed calling convention needs its runtime: argument checks, a workspace allocator, a thread
pool. Kernels here need none of these. Their buffers become bare pointers, their temporaries live on
the stack, and their one parallel loop becomes a range of tasks that the caller passes:

    void name(const float *a, ..., float *out, int32_t begin, int32_t end);

So the plan (compile/codegen/plan.py) decides which thread runs which tasks. LLVM can keep a tile
that is on the stack in registers, which it cannot do across calls of TVM's allocator.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import tvm
from tvm import s_tir, tirx

from compile.kernels.base import INITIAL_VALUES, OUT_STRIDE, PREFETCH_STEP, SINK_LOADS, Kernel
from compile.kernels.instructions import DOT_PRODUCT_KIND
from compile.kernels.lower_int8 import lower_instructions
from compile.passes.prefetch import prefetch_weights
from compile.passes.sink_loads import sink_loads
from compile.passes.transpose_stores import transpose_stores

Function: TypeAlias = Any
"""A tirx.PrimFunc. TVM has no type stubs."""

FIRST = (
    s_tir.transform.CanonicalizeLoop,
    s_tir.transform.LowerInitBlock,
    s_tir.transform.PlanAndUpdateBufferAllocationLocation,
    s_tir.transform.ConvertBlocksToOpaque,
    s_tir.transform.CompactBufferAllocation,
    s_tir.transform.LowerMatchBuffer,
    s_tir.transform.StmtSimplify,
    s_tir.transform.LowerOpaqueBlock,
)
VECTORS = (
    tirx.transform.FlattenBuffer,
    lambda: tirx.transform.NarrowDataType(32),
    s_tir.transform.LoopPartition,
    tirx.transform.VectorizeLoop,
)
THEN = (
    tirx.transform.StorageRewrite,
    s_tir.transform.HoistIfThenElse,
    tirx.transform.UnrollLoop,
    s_tir.transform.RenormalizeSplitPattern,
    tirx.transform.StmtSimplify,
    tirx.transform.RemoveNoOp,
    s_tir.transform.RewriteUnsafeSelect,
)
LAST = (tirx.transform.CommonSubexprElim, tirx.transform.VerifyMemory)
"""FIRST to LAST: the CPU part of TVM's default pipeline, up to its packed calling convention."""


def compile_kernels(kernels: list[Kernel], target: tvm.target.Target) -> tvm.runtime.Module:
    """Return one LLVM module that exports every kernel under its name."""
    named = {kernel.name: kernel.function for kernel in kernels}
    module = tvm.IRModule(
        {name: function.with_attr("global_symbol", name) for name, function in named.items()}
    )
    module = tvm.IRModule(
        {name: _with_initial_values(function) for name, function in module.functions.items()}
    )
    module = tirx.transform.BindTarget(target.with_host(target))(module)
    module = tvm.ir.transform.Sequential([make() for make in FIRST])(module)
    module = tvm.IRModule(
        {name: _with_row_stride(function) for name, function in module.functions.items()}
    )
    module = tvm.ir.transform.Sequential([make() for make in VECTORS])(module)
    functions = {name: _with_instructions(function) for name, function in module.functions.items()}
    module = tvm.IRModule(functions)
    module = tvm.ir.transform.Sequential([make() for make in THEN])(module)
    module = tvm.IRModule(
        {name: _reordered(function) for name, function in module.functions.items()}
    )
    module = tvm.IRModule(
        {name: _with_prefetches(function) for name, function in module.functions.items()}
    )
    module = tvm.ir.transform.Sequential([make() for make in LAST])(module)
    plain = {
        name.name_hint: _with_bare_pointers(function) for name, function in module.functions.items()
    }
    module = tirx.transform.LowerIntrin()(tvm.IRModule(plain))
    return tvm.get_global_func("target.build.llvm")(module, target)


def write_object(kernels: list[Kernel], target: tvm.target.Target, path: Path) -> None:
    """Compile `kernels` into the object file `path`."""
    compile_kernels(kernels, target).write_to_file(str(path), "o")


def assembly(kernels: list[Kernel], target: tvm.target.Target) -> str:
    """Return the assembly of `kernels`. Tests count its instructions."""
    return str(compile_kernels(kernels, target).inspect_source("asm"))


def _with_bare_pointers(function: Function) -> Function:
    """Replace buffers by bare pointers and the parallel loop by a range of tasks."""
    begin, end = tirx.Var("begin", "int32"), tirx.Var("end", "int32")
    pointers = [
        tirx.Var(f"{buffer.name}_data", tvm.ir.PointerType(tvm.ir.PrimType(buffer.dtype), "global"))
        for buffer in function.params
    ]
    declared = [
        tirx.DeclBuffer(buffer, data=pointer)
        for buffer, pointer in zip(function.params, pointers, strict=True)
    ]
    body = tirx.SeqStmt([*declared, _with_task_range(function.body, begin, end)])
    attributes = {name: function.attrs[name] for name in ("global_symbol", "target")}
    return tirx.PrimFunc([*pointers, begin, end], body).with_attrs(
        {**attributes, "tirx.noalias": True}
    )


def _with_initial_values(function: Function) -> Function:
    """Start sums from the buffers that INITIAL_VALUES names, instead of zero."""
    buffers = {buffer.name: buffer for buffer in function.params}
    starts = {}
    for block, start in dict(function.attrs.get(INITIAL_VALUES) or {}).items():
        name, *axes = str(start).split()
        if name in buffers:
            starts[f"{block}_init"] = buffers[name], [int(axis) for axis in axes] or [-1]

    def visit(statement: tirx.Stmt) -> tirx.Stmt | None:
        if not isinstance(statement, s_tir.SBlockRealize):
            return None
        block = statement.block
        if block.name_hint in starts:
            zero, (buffer, axes) = block.body, starts[block.name_hint]
            value = buffer[tuple(block.iter_vars[axis].var for axis in axes)]
            body = tirx.BufferStore(zero.buffer, value, zero.indices)
        else:
            body = _rewrite(block.body, visit)
        changed = s_tir.SBlock(
            block.iter_vars, block.reads, block.writes, block.name_hint, body, block.init,
            block.alloc_buffers, block.match_buffers, block.annotations,
        )  # fmt: skip
        return s_tir.SBlockRealize(statement.iter_values, statement.predicate, changed)

    return tirx.PrimFunc(function.params, _rewrite(function.body, visit), attrs=function.attrs)


def _with_row_stride(function: Function) -> Function:
    """Store the rows of the output OUT_STRIDE numbers apart."""
    stride = function.attrs.get(OUT_STRIDE)
    if stride is None:
        return function
    (out,) = (buffer for buffer in function.params if buffer.name == "O")
    view = tirx.decl_buffer(out.shape, out.dtype, "O", strides=[int(stride), int(out.shape[-1]), 1])

    def visit(statement: tirx.Stmt) -> tirx.Stmt | None:
        if isinstance(statement, tirx.BufferStore) and statement.buffer.same_as(out):
            return tirx.BufferStore(view, statement.value, statement.indices)
        return None

    params = [view if buffer.same_as(out) else buffer for buffer in function.params]
    return tirx.PrimFunc(params, _rewrite(function.body, visit), attrs=function.attrs)


def _with_instructions(function: Function) -> Function:
    """Replace the int8 operators by instructions of the CPU (kernels/lower_int8.py)."""
    kind = function.attrs.get(DOT_PRODUCT_KIND)
    if not kind:
        return function

    def visit(statement: tirx.Stmt) -> tirx.Stmt | None:
        if isinstance(statement, tirx.BufferStore):
            value = lower_instructions(statement.value, str(kind))
            return tirx.BufferStore(statement.buffer, value, statement.indices)
        return None

    return tirx.PrimFunc(function.params, _rewrite(function.body, visit), attrs=function.attrs)


def _reordered(function: Function) -> Function:
    """Apply the passes that save registers: sink_loads.py and transpose_stores.py in passes/.

    int8 functions are left as they are, since they store words of four bytes.
    """
    if function.attrs.get(DOT_PRODUCT_KIND):
        return function
    late = bool(function.attrs.get(SINK_LOADS))

    def visit(statement: tirx.Stmt) -> tirx.Stmt | None:
        if not isinstance(statement, tirx.SeqStmt):
            return None
        parts = transpose_stores([_rewrite(part, visit) for part in statement.seq])
        return tirx.SeqStmt(sink_loads(parts) if late else parts)

    return tirx.PrimFunc(function.params, _rewrite(function.body, visit), attrs=function.attrs)


def _with_prefetches(function: Function) -> Function:
    """Prefetch weights (compile/passes/prefetch.py) if PREFETCH_STEP is set."""
    step = function.attrs.get(PREFETCH_STEP)
    if not step:
        return function

    def visit(statement: tirx.Stmt) -> tirx.Stmt | None:
        return prefetch_weights(statement, int(step)) if isinstance(statement, tirx.For) else None

    return tirx.PrimFunc(function.params, _rewrite(function.body, visit), attrs=function.attrs)


def _with_task_range(body: tirx.Stmt, begin: tirx.Var, end: tirx.Var) -> tirx.Stmt:
    def visit(statement: tirx.Stmt) -> tirx.Stmt | None:
        if isinstance(statement, tirx.For) and statement.kind == tirx.ForKind.PARALLEL:
            serial = tirx.ForKind.SERIAL
            return tirx.For(statement.loop_var, begin, end - begin, serial, statement.body)
        return None

    return _rewrite(body, visit)


def _rewrite(statement: tirx.Stmt, visit: Callable[[tirx.Stmt], tirx.Stmt | None]) -> tirx.Stmt:
    """Replace each part of `statement` for which `visit` returns a new one."""
    replaced = visit(statement)
    if replaced is not None:
        return replaced
    if isinstance(statement, tirx.SeqStmt):
        return tirx.SeqStmt([_rewrite(part, visit) for part in statement.seq])
    if isinstance(statement, tirx.For):
        body = _rewrite(statement.body, visit)
        head = (statement.loop_var, statement.min, statement.extent, statement.kind)
        return tirx.For(*head, body, statement.thread_binding, statement.annotations)
    if isinstance(statement, tirx.AttrStmt):
        body = _rewrite(statement.body, visit)
        return tirx.AttrStmt(statement.node, statement.attr_key, statement.value, body)
    if isinstance(statement, tirx.IfThenElse):
        otherwise = statement.else_case
        return tirx.IfThenElse(
            statement.condition,
            _rewrite(statement.then_case, visit),
            _rewrite(otherwise, visit) if otherwise is not None else None,
        )
    return statement

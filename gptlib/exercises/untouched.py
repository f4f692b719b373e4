"""Whether an answer is still the notebook's stub: its compiled code is compared, nothing of it is called."""

import dis
import inspect
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

NO_WORK = {"RESUME", "NOP", "LOAD_CONST", "POP_TOP", "RETURN_VALUE", "RETURN_CONST"}


def is_untouched(stub: str, variable: str, answer: Any) -> bool:
    """Whether `answer` is `...` or None, or is compiled from what the stub says, or does nothing at all."""
    if answer is ... or answer is None:
        return True
    stub_code = next(code for code in _codes(compile(stub, "<stub>", "exec")) if code.co_name == variable)
    if isinstance(answer, type):
        stub_methods = {code.co_name: code for code in _codes(stub_code)}
        methods = {name: code for name, value in vars(answer).items() if (code := _code_of(value))}
        return stub_methods.keys() == methods.keys() and all(_same(stub_methods[m], methods[m]) for m in methods)
    code = _code_of(answer)
    return code is not None and (_is_empty(code, answer.__doc__) or _same(stub_code, code))


def _codes(code: CodeType) -> Iterator[CodeType]:
    return (constant for constant in code.co_consts if isinstance(constant, CodeType))


def _code_of(value: Any) -> CodeType | None:
    """The code of a function, below its decorators; None for anything else."""
    return inspect.unwrap(value).__code__ if isinstance(value, FunctionType) else None


def _is_empty(code: CodeType, docstring: str | None) -> bool:
    """Whether the body is a docstring, `...`, `pass` or `return ...`."""
    works = any(instruction.opname not in NO_WORK for instruction in dis.get_instructions(code))
    return not works and set(code.co_consts) <= {None, ..., docstring}


def _same(one: CodeType, other: CodeType) -> bool:
    """Whether two functions do the same, wherever their source stands."""
    if (one.co_code, one.co_names, one.co_varnames) != (other.co_code, other.co_names, other.co_varnames):
        return False
    if len(one.co_consts) != len(other.co_consts):
        return False
    return all(
        _same(a, b) if isinstance(a, CodeType) and isinstance(b, CodeType) else (type(a), a) == (type(b), b)
        for a, b in zip(one.co_consts, other.co_consts, strict=True)
    )

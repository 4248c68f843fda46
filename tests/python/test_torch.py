# SPDX-License-Identifier: MIT
"""PyTorchBuddyAllocator, and tensors of blocks, with whatever PyTorch there is."""
import gc
import multiprocessing
import sys

import pytest

import buddy_mem
from buddy_mem import OptimizedBuddyAllocator, PyTorchBuddyAllocator

torch = pytest.importorskip("torch")

MIB = 1 << 20
QUANTISED = [n for n in ("quint8", "qint8", "qint32", "quint4x2", "quint2x4")
             if hasattr(torch, n)]


def plain_dtypes():
    """Every dtype of this PyTorch that a tensor can be made of, but the quantised."""
    result = set()
    for value in vars(torch).values():
        if isinstance(value, torch.dtype) and str(value)[6:] not in QUANTISED:
            try:
                torch.empty(1, dtype=value).view(torch.uint8)
            except (RuntimeError, TypeError):
                continue  # a placeholder, as torch.uint3
            result.add(value)
    return sorted(result, key=str)


@pytest.fixture(params=[PyTorchBuddyAllocator, OptimizedBuddyAllocator])
def tensors(request):
    made = request.param(MIB, 256)
    yield made
    gc.collect()
    assert made._verify() is None


def used(allocator):
    return allocator.get_statistics()["used"]


def test_the_dtypes_that_are_tested():
    names = {str(dtype) for dtype in plain_dtypes()}
    assert {"torch.float16", "torch.bfloat16", "torch.complex32", "torch.complex128",
            "torch.bool", "torch.int64", "torch.uint8"} <= names
    if hasattr(torch, "float8_e4m3fn"):
        assert {"torch.float8_e4m3fn", "torch.float8_e5m2"} <= names


@pytest.mark.parametrize("dtype", plain_dtypes(), ids=str)
def test_dtype(tensors, dtype):
    handle, tensor = tensors.allocate_tensor((3, 5), dtype)
    assert tensor.dtype is dtype and tensor.shape == (3, 5)
    assert tensor.stride() == (5, 1) and tensor.device.type == "cpu"
    block = tensors.block(handle)
    assert tensor.data_ptr() == block.address
    assert block.nbytes == 15 * tensor.element_size()
    raw = torch.frombuffer(block, dtype=torch.uint8)
    raw.copy_(torch.arange(len(raw)) % 2)
    assert bytes(tensor.contiguous().view(torch.uint8).numpy()) == bytes(raw.numpy())
    del raw
    copy_handle, copy = tensors.put_tensor(tensor)
    assert copy.dtype is dtype and copy.data_ptr() != tensor.data_ptr()
    assert bytes(tensors.block(copy_handle)) == bytes(block)
    assert tensors.deallocate_tensor(handle) and tensors.deallocate_tensor(copy_handle)
    del tensor, copy
    assert used(tensors) == 0


@pytest.mark.parametrize("name", QUANTISED)
def test_quantised(tensors, name):
    with pytest.raises(TypeError, match="int_repr"):
        tensors.allocate_tensor((4,), getattr(torch, name))
    assert used(tensors) == 0


def test_the_parts_of_a_quantised_tensor(tensors):
    q = torch.quantize_per_tensor(torch.tensor([0.5, 1.0]), 0.5, 0, torch.quint8)
    _, parts = tensors.put_tensor(q.int_repr())
    again = torch._make_per_tensor_quantized_tensor(parts, q.q_scale(), q.q_zero_point())
    assert torch.equal(again, q)


@pytest.mark.parametrize("shape", [(), (1,), (7,), 7, (2, 3, 4), [2, 3], torch.Size([4, 4]),
                                   (1, 1, 1, 1, 1), (0,), (3, 0, 2)], ids=str)
def test_shapes(tensors, shape):
    handle, tensor = tensors.allocate_tensor(shape, torch.float32)
    expected = torch.empty(shape)
    assert tensor.shape == expected.shape and tensor.stride() == expected.stride()
    if tensor.numel():
        tensor.fill_(2)
        assert tensor.sum() == 2 * tensor.numel()
    assert tensors.deallocate_tensor(handle) is True


@pytest.mark.parametrize("numbers, expected", [([2, 3], (2, 3)), ([5], (5,)), (4, (4,))])
def test_shapes_that_are_arrays(tensors, numbers, expected):
    np = pytest.importorskip("numpy")
    for shape in (torch.tensor(numbers), np.array(numbers), np.array(numbers, "u1"),
                  [np.int64(n) for n in expected]):
        _, tensor = tensors.allocate_tensor(shape)
        assert tensor.shape == expected
    strides = torch.tensor([1] * len(expected))
    assert tensors.allocate_tensor(expected, strides=strides)[1].shape == expected
    assert tensors.allocate_tensor(np.int64(6))[1].shape == (6,)


def test_float32_by_default(tensors):
    assert tensors.allocate_tensor((2,))[1].dtype is torch.float32


@pytest.mark.parametrize("shape, dtype, error", [
    ((-1,), torch.float32, ValueError),
    ((2, -3), torch.float32, ValueError),
    ((1.5,), torch.float32, TypeError),
    ("ab", torch.float32, TypeError),
    (None, torch.float32, TypeError),
    ((2,), "float32", TypeError),
    ((2,), 3, TypeError),
    ((2,), float, TypeError),
])
def test_bad_arguments(tensors, shape, dtype, error):
    with pytest.raises(error):
        tensors.allocate_tensor(shape, dtype)
    assert used(tensors) == 0


@pytest.mark.parametrize("strides, error", [
    ((1,), ValueError), ((-1, 1), ValueError), ((1.0, 1), TypeError),
])
def test_bad_strides(tensors, strides, error):
    with pytest.raises(error):
        tensors.allocate_tensor((2, 2), strides=strides)
    assert used(tensors) == 0


def test_no_room(tensors):
    assert tensors.allocate_tensor((MIB,), torch.float32) is None
    assert tensors.allocate_tensor((1 << 40, 1 << 40), torch.float32) is None
    assert tensors.put_tensor(torch.empty(MIB)) is None


@pytest.mark.parametrize("handle", [0, 99, -1])
def test_wrong_handle(tensors, handle):
    assert tensors.deallocate_tensor(handle) is False


def test_a_device_that_blocks_are_not_on():
    with pytest.raises(ValueError, match="cuda"):
        PyTorchBuddyAllocator(MIB, device="cuda")
    with pytest.raises(ValueError, match="cuda"):
        OptimizedBuddyAllocator(MIB, 64, torch.device("cuda", 0))
    assert PyTorchBuddyAllocator(MIB, 256, "cpu").device == torch.device("cpu")
    assert PyTorchBuddyAllocator(MIB).torch is torch


def test_strides(tensors):
    handle, tensor = tensors.allocate_tensor((2, 3), torch.int32, strides=(1, 2))
    assert tensor.stride() == (1, 2)
    tensor.copy_(torch.arange(6).reshape(2, 3))
    flat = torch.frombuffer(tensors.block(handle), dtype=torch.int32)
    assert flat.tolist() == [0, 3, 1, 4, 2, 5]
    _, gapped = tensors.allocate_tensor((2, 2), torch.int32, strides=(100, 1))
    assert gapped.stride() == (100, 1)


@pytest.mark.parametrize("make", [
    lambda: torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    lambda: torch.randn(4, 6).t(),
    lambda: torch.randn(2, 3, 4).permute(1, 2, 0),
    lambda: torch.randn(5, 1, 3),
], ids=["channels_last", "transposed", "permuted", "ones"])
def test_put_keeps_strides(tensors, make):
    source = make()
    _, copy = tensors.put_tensor(source)
    assert copy.stride() == source.stride() and torch.equal(copy, source)


@pytest.mark.parametrize("make", [
    lambda: torch.randn(10, 10)[::2, ::3],
    lambda: torch.randn(3, 1).expand(3, 4),
    lambda: torch.as_strided(torch.randn(9), (2, 2), (3, 0)),
    lambda: torch.randn(4, dtype=torch.complex64).conj(),
    lambda: torch.randn(4, requires_grad=True),
], ids=["steps", "expanded", "overlapping", "conjugated", "with a gradient"])
def test_put_of_what_has_gaps(tensors, make):
    source = make()
    _, copy = tensors.put_tensor(source)
    assert copy.is_contiguous() and torch.equal(copy, source.detach())


@pytest.mark.parametrize("thing", [[1.0], 3, None, b"abc"], ids=str)
def test_put_of_no_tensor(tensors, thing):
    with pytest.raises(TypeError, match=f"{type(thing).__name__}.*as_tensor"):
        tensors.put_tensor(thing)
    assert used(tensors) == 0


def test_put_of_an_ndarray(tensors):
    np = pytest.importorskip("numpy")
    with pytest.raises(TypeError, match="ndarray.*as_tensor"):
        tensors.put_tensor(np.ones(4))
    assert used(tensors) == 0
    assert tensors.put_tensor(torch.as_tensor(np.ones(4)))[1].sum() == 4


def test_put_that_fails_leaves_nothing(tensors):
    with pytest.raises((NotImplementedError, RuntimeError)):
        tensors.put_tensor(torch.empty(3, device="meta"))
    assert used(tensors) == 0


def test_a_tensor_keeps_its_block(tensors):
    handle, tensor = tensors.allocate_tensor((64,), torch.int64)
    tensor.copy_(torch.arange(64))
    with pytest.raises(BufferError):
        tensors.deallocate(handle)
    assert tensors.deallocate_tensor(handle) is True
    assert tensors.deallocate_tensor(handle) is False
    assert not tensors.is_valid_handle(handle)
    others = [tensors.allocate_tensor((64,), torch.int64) for _ in range(50)]
    for _, other in others:
        other.zero_()
    assert tensor.tolist() == list(range(64))
    part = tensor[3:5]
    del tensor
    assert tensors.get_statistics()["blocks_kept_by_views"] == 1
    assert part.tolist() == [3, 4]
    del part
    assert tensors.get_statistics()["blocks_kept_by_views"] == 0


def test_a_tensor_keeps_its_allocator():
    _, tensor = PyTorchBuddyAllocator(MIB).allocate_tensor((1000,))
    gc.collect()
    assert tensor.fill_(3).sum() == 3000


def test_the_allocator_does_not_close_under_a_tensor(tensors):
    _, tensor = tensors.allocate_tensor((4,))
    with pytest.raises(BufferError):
        tensors.close()
    tensor.fill_(1)


@pytest.mark.parametrize("take", [
    lambda block: torch.frombuffer(block, dtype=torch.float32),
    lambda block: torch.from_dlpack(block),
    lambda block: torch.from_dlpack(block.view("bfloat16", (4, 4))),
    lambda block: torch.utils.dlpack.from_dlpack(block.__dlpack__()),
    lambda block: torch.from_numpy(block.numpy("int16")),
    lambda block: torch.as_tensor(block.numpy("int16")),
], ids=["frombuffer", "dlpack", "bfloat16", "capsule", "from_numpy", "as_tensor"])
def test_tensors_of_blocks(region, take):
    block = region.alloc(64)
    tensor = take(block)
    assert tensor.data_ptr() == block.address
    with pytest.raises(BufferError):
        block.free()
    tensor.view(-1)[0] = 1
    block.release()
    del tensor
    gc.collect()
    assert used(region) == 0


def end_backwards(block):
    return block.view("float32", (4,), strides=(-4,), offset=12)


@pytest.mark.parametrize("make", [
    end_backwards,
    lambda block: block.view("int16", (2, 3), strides=(6, -2), offset=4),
    lambda block: block.view("uint8", (2, 3), strides=(-3, 1), offset=3),
], ids=["one", "the last", "the first"])
def test_negative_strides(region, make):
    """PyTorch ends the process if it gets any."""
    block = region.alloc(64)
    view = make(block)
    with pytest.raises(BufferError, match="negative strides"):
        torch.from_dlpack(view)
    with pytest.raises(BufferError, match="negative strides"):
        torch.utils.dlpack.from_dlpack(view.__dlpack__())
    del view
    block.free()


def test_negative_strides_of_single_elements(region):
    view = region.alloc(64).view("float32", (1, 3), strides=(-12, 4), offset=0)
    tensor = torch.from_dlpack(view)
    assert tensor.shape == (1, 3) and tensor.data_ptr() == view.address
    assert tensor.is_contiguous()


# PyTorch changes the shape of a tensor before it finds that it cannot resize its storage,
# and checks no shape against a storage when it computes. The storage's length is exact,
# and no attribute of tensor or storage makes PyTorch look first. If one of these tests
# fails, a newer PyTorch does, and docs/python.md is to say which.
TOO_LONG = {
    "out": lambda tensor: torch.add(torch.ones(128), 1, out=tensor),
    "resize_": lambda tensor: tensor.resize_(128),
    "resize_as_": lambda tensor: tensor.resize_as_(torch.ones(128)),
    "set_": lambda tensor: tensor.set_(storage_of(tensor), 0, (128,), (1,)),
}


def storage_of(tensor):
    return tensor.untyped_storage() if hasattr(tensor, "untyped_storage") else tensor.storage()


@pytest.fixture
def neighbours(tensors):
    pair = [tensors.allocate_tensor((64,))[1] for _ in range(2)]
    for tensor, number in zip(pair, (1, 7)):
        tensor.fill_(number)
    return pair


@pytest.mark.filterwarnings("ignore:An output with one or more")
@pytest.mark.parametrize("grow", TOO_LONG.values(), ids=TOO_LONG)
def test_a_tensor_that_cannot_grow(neighbours, grow):
    a, b = neighbours
    assert storage_of(a).nbytes() == 256
    of_numpy = torch.from_numpy(pytest.importorskip("numpy").zeros(64, "f4"))
    for tensor in (a, of_numpy):
        with pytest.raises(RuntimeError, match="not resizable"):
            grow(tensor)
    assert a.shape == of_numpy.shape, "not as memory of NumPy"
    assert storage_of(a).nbytes() == 256
    if torch.__version__.startswith(("1.13.", "2.6.")):
        assert a.shape == (128,)
        assert a.sum() == 64 + 7 * 64, "it reads its neighbour"
        a.zero_()
        assert b[0] == 0, "it writes its neighbour"


@pytest.mark.filterwarnings("ignore:An output with one or more")
@pytest.mark.parametrize("grow", TOO_LONG.values(), ids=TOO_LONG)
def test_a_view_as_out_leaves_the_tensor(neighbours, grow):
    a, b = neighbours
    with pytest.raises(RuntimeError, match="not resizable"):
        grow(a[:])
    assert a.shape == (64,) and a.sum() == 64
    torch.add(torch.ones(64), 1, out=a[:])
    assert a.sum() == 128
    a.zero_()
    assert b.sum() == 7 * 64


def test_a_storage_that_cannot_grow(neighbours):
    a, b = neighbours
    with pytest.raises(RuntimeError, match="not resizable"):
        storage_of(a).resize_(512)
    assert a.shape == (64,) and a.sum() == 64 and b.sum() == 7 * 64


@pytest.mark.parametrize("make", [
    lambda: torch.multiprocessing.get_context("fork").Queue(),
    lambda: multiprocessing.get_context("fork").Queue(),
], ids=["torch's queue", "Python's queue"])
def test_a_queue_takes_a_tensor_out_of_its_block(tensors, make):
    """PyTorch moves the storage to its own shared memory, for all who have it."""
    handle, tensor = tensors.allocate_tensor((64,))
    block = tensors.block(handle)
    tensor.fill_(3)
    part = tensor[:4]
    queue = make()
    queue.put(tensor)
    other = queue.get(timeout=60)
    assert tensor.is_shared() and other.tolist() == tensor.tolist() == [3] * 64
    inside = range(block.address, block.address + block.capacity)
    assert tensor.data_ptr() not in inside and part.data_ptr() not in inside
    assert tensors.get_statistics()["views"] == 0 and tensors.is_valid_handle(handle)
    other.fill_(5)
    assert part.tolist() == [5] * 4
    assert torch.frombuffer(block, dtype=torch.float32).tolist() == [3] * 64
    assert tensors.deallocate(handle) is True


def test_share_memory_takes_a_tensor_out_of_its_block(tensors):
    handle, tensor = tensors.allocate_tensor((64,))
    tensor.fill_(3).share_memory_()
    assert tensor.data_ptr() != tensors.block(handle).address and tensor.sum() == 192
    assert tensors.deallocate(handle) is True


# Of the others PyTorch says itself that it has no DLPack of them, or says another name.
DLPACK = [dtype for dtype in plain_dtypes() if str(dtype)[6:] in {
    "uint8", "int8", "bool", "int16", "uint16", "int32", "uint32", "int64", "uint64",
    "float16", "bfloat16", "float32", "float64", "complex32", "complex64", "complex128"}]


@pytest.mark.parametrize("dtype", DLPACK, ids=str)
def test_dlpack_of_tensors(dtype):
    tensor = torch.zeros(2, 3, 4, dtype=dtype).permute(2, 0, 1)
    try:
        array = buddy_mem.from_dlpack(tensor)
    except (RuntimeError, TypeError, ValueError, BufferError) as error:
        # PyTorch's own refusals: 1.13 has no DLPack of bool
        assert str(dtype)[6:] in ("bool", "complex32"), error
        return
    assert array.dtype == str(dtype)[6:] and array.shape == (4, 2, 3)
    assert array.address == tensor.data_ptr()
    again = torch.from_dlpack(array)
    assert again.data_ptr() == tensor.data_ptr() and again.stride() == tensor.stride()
    assert again.dtype is dtype


def test_no_tensor_is_left_after_many(tensors):
    before = sys.getrefcount(tensors)
    for _ in range(200):
        handle, tensor = tensors.allocate_tensor((100,))
        tensors.deallocate_tensor(handle)
    del tensor
    assert sys.getrefcount(tensors) == before and used(tensors) == 0

# SPDX-License-Identifier: MIT
"""Arrays: the buffer protocol, __array_interface__, DLPack, and NumPy."""
import ctypes
import gc
import hashlib
import warnings

import pytest

import buddy_mem

np = pytest.importorskip("numpy")

MIB = 1 << 20

NAMES = ["uint8", "int8", "bool", "int16", "uint16", "int32", "uint32", "int64",
         "uint64", "float16", "float32", "float64", "complex64", "complex128"]
WITHOUT_FORMAT = ["bfloat16", "complex32", "float8_e4m3fn", "float8_e4m3fnuz",
                  "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"]


def capsule_name(capsule):
    get = ctypes.pythonapi.PyCapsule_GetName
    get.restype, get.argtypes = ctypes.c_char_p, [ctypes.py_object]
    return get(capsule)


@pytest.mark.parametrize("name", NAMES)
def test_numpy_dtypes(region, name):
    dtype = np.dtype(name)
    block = region.alloc(6 * dtype.itemsize)
    array = block.numpy(name, (2, 3))
    assert array.dtype == dtype and array.shape == (2, 3)
    array[:] = np.arange(6).reshape(2, 3)
    assert bytes(block) == np.arange(6).reshape(2, 3).astype(dtype).tobytes()
    assert block.numpy(dtype, 6).dtype == dtype
    assert block.numpy(dtype.type).shape == (6,)


@pytest.mark.parametrize("name", WITHOUT_FORMAT)
def test_numbers_that_buffers_do_not_have(region, name):
    view = region.alloc(64).view(name)
    with pytest.raises(BufferError):
        memoryview(view)
    assert view.__array_interface__["typestr"][1] == "V"
    assert buddy_mem.from_dlpack(view).dtype == name


def test_array_attributes(region):
    block = region.alloc(1000)
    view = block.view("float32", (4, 5), strides=(40, 4), offset=8)
    assert (view.shape, view.strides, view.dtype) == ((4, 5), (40, 4), "float32")
    assert (view.nbytes, view.ndim, view.readonly) == (80, 2, False)
    assert view.address == block.address + 8
    assert repr(view) == "<array (4, 5) of float32>"
    assert view.__array_interface__ == {
        "version": 3, "typestr": "<f4", "shape": (4, 5), "strides": (40, 4),
        "data": (view.address, False),
    }


@pytest.mark.parametrize("arguments, keywords, error", [
    (("float33",), {}, TypeError),
    ((3,), {}, TypeError),
    (("uint8", 101), {}, ValueError),
    (("uint8", -1), {}, ValueError),
    (("uint8", (10, 11)), {}, ValueError),
    (("float64", 13), {}, ValueError),
    (("uint8", 1 << 62), {}, ValueError),
    (("uint8", 1 << 70), {}, OverflowError),
    (("uint8", (1 << 40, 1 << 40)), {}, ValueError),
    (("uint8", (1 << 40, 0, 1 << 40)), {}, ValueError),
    (("uint8", "ab"), {}, TypeError),
    (("uint8", (1,) * 65), {}, ValueError),
    (("uint8", 10), {"offset": 91}, ValueError),
    (("uint8", 10), {"offset": -1}, ValueError),
    (("uint8",), {"offset": -(1 << 63)}, ValueError),
    (("uint8",), {"offset": (1 << 63) - 1}, ValueError),
    (("uint8",), {"offset": 101}, ValueError),
    (("uint8", (2, 2)), {"strides": (1,)}, ValueError),
    (("uint8", (2, 2)), {"strides": (99, 1)}, ValueError),
    (("uint8", 10), {"strides": -1}, ValueError),
    (("uint8", 10), {"strides": 1 << 62}, ValueError),
    (("uint8", 10), {"strides": -(1 << 63)}, ValueError),
    (("uint8", 10), {"colour": 1}, TypeError),
])
def test_bad_views(region, arguments, keywords, error):
    block = region.alloc(100)
    with pytest.raises(error):
        block.view(*arguments, **keywords)
    block.free()


def test_numbers_of_numpy(region):
    block = region.alloc(64)
    for five in (np.int64(5), np.array(5), np.uint8(5)):
        assert block.view("float32", five).shape == (5,)
        assert block.view("uint8", 5, strides=five).strides == (5,)
        assert block.view("uint8", offset=five).nbytes == 59
    assert block.view("float32", np.array([2, 3])).shape == (2, 3)
    assert block.view("float32", (2, 3), strides=np.array([12, 4])).strides == (12, 4)
    with pytest.raises(TypeError):
        block.view("float32", np.float64(5))


class Index:
    """An int that does something when it is asked for its value."""

    def __init__(self, act, value):
        self.act, self.value = act, value

    def __index__(self):
        self.act()
        return self.value


@pytest.mark.parametrize("make", [
    lambda block, index: block.view("uint8", (1 << 40, index)),
    lambda block, index: block.view("uint8", (2, 5), strides=(1 << 44, index)),
    lambda block, index: block.view("uint8", 5, offset=index),
], ids=["shape", "strides", "offset"])
def test_no_array_is_there_before_its_shape(region, make):
    """The collector shows what there is to everybody."""
    block = region.alloc(100)
    seen = []

    def look():
        seen.append([o for o in gc.get_objects() if type(o) is buddy_mem.Array])
        with pytest.raises(BufferError):
            block.free()

    gc.collect()
    try:
        view = make(block, Index(look, 5))
    except ValueError:
        view = None
    assert seen == [[]]
    del view
    block.free()


def texts_of_numpy():
    """Every text that names a dtype in this NumPy, with each byte order or none."""
    codes = set(np.typecodes["All"]) | {
        kind + str(1 << size) for kind in "biufcV" for size in range(5)}
    names = {key for key in np.sctypeDict if isinstance(key, str)} | {"float32", "bool"}
    for text in sorted(names | codes | {order + text for order in "<>=|" for text in codes | names}):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                yield text, np.dtype(text)
            except TypeError:
                yield text, None


def test_the_texts_that_numpy_takes(region):
    view, taken, wrong = region.alloc(64).view, set(), []
    for text, dtype in texts_of_numpy():
        try:
            array = view(text)
            same = dtype is not None and dtype.isnative and array.dtype == dtype.name
        except TypeError as error:
            array = None
            same = dtype is None or dtype.name not in NAMES or \
                (not dtype.isnative and "byte order" in str(error))
        if not same:
            wrong.append((text, dtype, array))
        elif array:
            taken.add(text)
    assert not wrong
    assert {"f4", "<f4", "=i8", "|u1", ">u1", "d", "?", "b1", "float", "int", "half"} <= taken


@pytest.mark.parametrize("kind, name", [
    (float, "float64"), (int, "int64"), (bool, "bool"), (complex, "complex128"),
    (np.dtype(np.float32).str, "float32"), (np.dtype("f4"), "float32"), ("float32", "float32"),
])
def test_kinds_of_numbers_as_numpy_has_them(region, kind, name):
    assert region.alloc(64).view(kind).dtype == name
    assert region.alloc(64).numpy(kind).dtype == np.dtype(kind)


def test_names_that_pytorch_gives_other_meanings(region):
    with pytest.raises(TypeError):
        region.alloc(64).view("torch.float")  # 4 bytes there, 8 in NumPy
    assert region.alloc(64).view("torch.float32").dtype == "float32"


def test_byte_swapped_numbers(region):
    block = region.alloc(64)
    for take in (block.view, block.numpy):
        for name in (">f4", ">i2", ">c8"):
            with pytest.raises(TypeError, match="byte order"):
                take(np.dtype(name))
        assert take(np.dtype("<f4")).shape == take(np.dtype("=f4")).shape == (16,)
        assert take(np.dtype(">u1")).shape == (64,)
    assert region.get_statistics()["views"] == 0


@pytest.mark.parametrize("name", ["uint8\0junk", "torch.uint8\0", "uint8 ", "", "torch.", "\udcff", "<", "<<f4", "f3",
                                  "<single", "f single", "V2", "<V1", "3f4", "f4,i4"])
def test_names_of_no_dtype(region, name):
    with pytest.raises((TypeError, UnicodeEncodeError)):
        region.alloc(64).view(name)


def test_a_buffer_without_a_shape(region):
    """One dimension, as PyBUF_SIMPLE has it."""
    block = region.alloc(64)
    with memoryview(block) as view:
        view[:] = bytes(range(64))
    for shape in ((2, 8), (16,), (4, 2, 2)):
        view = block.view("float32", shape)
        assert hashlib.sha256(view).digest() == hashlib.sha256(bytes(range(64))).digest()
    assert hashlib.sha256(block.view("float32", ())).digest() == \
        hashlib.sha256(bytes(range(4))).digest()


def test_edges_of_views(region):
    block = region.alloc(100)
    assert block.view("uint8", 10, offset=90).nbytes == 10
    assert block.view("uint8", (0, 5), offset=100).nbytes == 0
    assert block.view("uint8", ()).shape == ()
    assert block.view("float64").shape == (12,)
    assert block.view("uint8", (2, 2), strides=(98, 1)).nbytes == 4
    backwards = np.asarray(block.view("uint8", 10, strides=-1, offset=9))
    np.asarray(block.view())[:10] = range(10)
    assert list(backwards) == list(range(9, -1, -1))
    assert np.asarray(block.view("uint8", 5, strides=0)).tolist() == [0] * 5


def test_contiguity_is_what_was_asked_for(region):
    gapped = region.alloc(100).view("uint8", (2, 3), strides=(10, 1))
    with pytest.raises(BufferError):
        hashlib.sha256(gapped)
    assert bytes(memoryview(gapped)) == bytes(6)
    transposed = region.alloc(100).view("uint8", (2, 3), strides=(1, 2))
    assert memoryview(transposed).f_contiguous


def test_views_count(region):
    block = region.alloc(400)
    array = block.numpy("float32")
    part = array[5:].reshape(5, 19)[2]
    del array
    with pytest.raises(BufferError):
        block.free()
    part[:] = 1
    del part
    block.free()


@pytest.mark.parametrize("take", [
    lambda block: np.frombuffer(block, "float32"),
    lambda block: np.asarray(block),
    lambda block: np.asarray(memoryview(block)),
    lambda block: np.from_dlpack(block),
    lambda block: np.from_dlpack(block.view("int32")),
    lambda block: memoryview(block)[3:],
    lambda block: (ctypes.c_char * 64).from_buffer(block),
    lambda block: block.view(),
    lambda block: block.__dlpack__(),
    lambda block: block.__dlpack__(max_version=(1, 0)),
    lambda block: buddy_mem.from_dlpack(block),
    lambda block: block.view().__array_interface__ and block.view(),
], ids=range(12))
def test_whatever_has_the_bytes_keeps_them(region, take):
    block = region.alloc(64)
    taken = take(block)
    with pytest.raises(BufferError):
        block.free()
    block.release()
    assert region.get_statistics()["blocks_kept_by_views"] == 1
    del taken
    gc.collect()
    assert region.get_statistics()["used"] == 0


@pytest.mark.parametrize("take", [
    lambda block: np.ndarray((16,), "i4", buffer=block),
    lambda block: np.ndarray((4,), "i4", block, 16),
    lambda block: np.recarray((8,), "i4,f4", buf=block),
    lambda block: np.chararray((64,), 1, buffer=block),
    lambda block: np.rec.fromstring(block, "i4,f4"),
], ids=range(5))
def test_numpy_constructors_that_keep_the_block_alone(allocator, take):
    """They end their buffer at once, and reach its bytes for as long as they live."""
    handle, _ = allocator.allocate(64)
    taken = take(allocator.block(handle))
    part = taken[1:]
    del taken
    with pytest.raises(BufferError):
        allocator.deallocate(handle)
    with pytest.raises(BufferError):
        allocator.close()
    assert allocator.release(handle)
    assert allocator.get_statistics()["blocks_kept_by_views"] == 1
    assert allocator.allocate(MIB) is None
    del part
    assert allocator.get_statistics()["used"] == 0


def test_such_a_block_is_kept_until_its_object_ends(region):
    block = region.alloc(64)
    array = np.ndarray((16,), "i4", buffer=block)
    assert region.get_statistics()["views"] == 1
    np.ndarray((16,), "i4", buffer=block)
    assert region.get_statistics()["views"] == 1
    del array
    with pytest.raises(BufferError):
        block.free()
    block.release()
    del block
    assert region.get_statistics()["used"] == 0


@pytest.mark.parametrize("use", [
    bytes, bytearray, np.sum, lambda block: hashlib.sha256(block), lambda block: memoryview(block),
    lambda block: np.frombuffer(block, "u1"), lambda block: np.asarray(block),
    lambda block: (ctypes.c_char * 64).from_buffer(block),
    lambda block: open("/dev/zero", "rb").readinto(block),
], ids=range(9))
def test_what_ends_its_buffer_leaves_the_block_to_free(region, use):
    block = region.alloc(64)
    use(block)
    gc.collect()
    block.free()


def test_array_interface_alone(region):
    class Only:
        def __init__(self, view):
            self.view = view
            self.__array_interface__ = view.__array_interface__

    block = region.alloc(24)
    array = np.asarray(Only(block.view("int64", 3)))
    array[:] = [1, 2, 3]
    assert array.base is not None
    with pytest.raises(BufferError):
        block.free()
    assert np.asarray(block.view("int64")).tolist() == [1, 2, 3]


@pytest.mark.parametrize("version, name", [
    (None, b"dltensor"), ((0, 8), b"dltensor"), ((1, 0), b"dltensor_versioned"),
    ((1, 1), b"dltensor_versioned"), ((2, 0), b"dltensor_versioned"),
])
def test_dlpack_versions(region, version, name):
    capsule = region.alloc(64).view("float32", (4, 4)).__dlpack__(max_version=version)
    assert capsule_name(capsule) == name
    array = buddy_mem.from_dlpack(capsule)
    assert capsule_name(capsule) == b"used_" + name
    assert (array.shape, array.dtype) == ((4, 4), "float32")
    with pytest.raises(ValueError):
        buddy_mem.from_dlpack(capsule)


def test_dlpack_device(region):
    block = region.alloc(64)
    assert block.__dlpack_device__() == block.view().__dlpack_device__() == (1, 0)
    assert block.__dlpack__(dl_device=(1, 0), copy=False, stream=None)


@pytest.mark.parametrize("keywords, error", [
    ({"stream": 1}, BufferError),
    ({"dl_device": (2, 0)}, BufferError),
    ({"dl_device": (1, 1)}, BufferError),
    ({"copy": True}, BufferError),
    ({"max_version": 1}, TypeError),
    ({"max_version": (1,)}, TypeError),
    ({"colour": 1}, TypeError),
])
def test_dlpack_refusals(region, keywords, error):
    block = region.alloc(64)
    with pytest.raises(error):
        block.__dlpack__(**keywords)
    block.free()


def test_dlpack_of_negative_strides(region):
    """Whatever version is asked for: newer PyTorch asks for 1.0, and aborts on them."""
    view = region.alloc(64).view("int32", (2, 3), strides=(12, -4), offset=8)
    for version in (None, (0, 8), (1, 0), (1, 1)):
        with pytest.raises(BufferError, match="negative strides"):
            view.__dlpack__(max_version=version)
    for take in (np.from_dlpack, buddy_mem.from_dlpack):
        with pytest.raises(BufferError, match="negative strides"):
            take(view)
    assert np.asarray(view).strides == view.strides
    backwards = buddy_mem.from_dlpack(np.arange(5)[::-1])
    assert backwards.strides == (-8,) and np.asarray(backwards).tolist() == [4, 3, 2, 1, 0]
    single = region.alloc(64).view("int32", (1, 1), strides=(-8, -4))
    assert buddy_mem.from_dlpack(single.__dlpack__()).shape == (1, 1)


def test_dlpack_of_odd_strides(region):
    view = region.alloc(64).view("int32", 4, strides=5)
    with pytest.raises(BufferError):
        view.__dlpack__()


@pytest.mark.parametrize("name", NAMES)
def test_dlpack_both_ways(region, name):
    if name == "bool":
        pytest.skip("NumPy 1.24 has no DLPack of bool")
    source = np.arange(24).astype(name).reshape(2, 3, 4).transpose(2, 0, 1)
    array = buddy_mem.from_dlpack(source)
    assert (array.shape, array.dtype) == (source.shape, name)
    assert array.strides == source.strides and array.address == source.ctypes.data
    there_and_back = np.from_dlpack(array)
    assert there_and_back.strides == source.strides
    assert (there_and_back == source).all()
    del source
    gc.collect()
    assert there_and_back.sum() == 276


def test_from_dlpack_keeps_its_source():
    class Source(np.ndarray):
        pass

    array = buddy_mem.from_dlpack(np.arange(1000))
    gc.collect()
    assert np.asarray(array).sum() == 499_500


@pytest.mark.parametrize("thing, error", [
    (3, AttributeError), (None, AttributeError), (b"x", AttributeError),
    (type("Liar", (), {"__dlpack__": lambda self, **keywords: 42})(), TypeError),
])
def test_from_dlpack_of_nothing(thing, error):
    with pytest.raises(error):
        buddy_mem.from_dlpack(thing)


def test_an_error_of_the_source_comes_through():
    class Broken:
        def __dlpack__(self, **keywords):
            raise RuntimeError("on fire")

    with pytest.raises(RuntimeError, match="on fire"):
        buddy_mem.from_dlpack(Broken())

/* SPDX-License-Identifier: MIT */
/*
 * dlpack.h - the structs of DLPack 1.0, the ABI by which libraries hand arrays to one
 * another (dmlc.github.io/dlpack). Names are ours, the layout is theirs.
 *
 * A capsule named "dltensor" holds a struct dl_legacy, "dltensor_versioned" a struct
 * dl_versioned; who takes it renames it to "used_...", and calls the deleter when
 * it is done.
 */
#ifndef BUDDY_PYTHON_DLPACK_H
#define BUDDY_PYTHON_DLPACK_H

#include <stdint.h>

#define DL_CPU		1	/* dl_device.type: host memory, and that which devices */
#define DL_CUDA_HOST	3	/* have registered */

#define DL_READ_ONLY	1u	/* dl_versioned.flags */

/* dl_data_type.code */
enum dl_code {
	DL_INT, DL_UINT, DL_FLOAT, DL_BFLOAT = 4, DL_COMPLEX, DL_BOOL,
	DL_FLOAT8_E4M3FN = 10, DL_FLOAT8_E4M3FNUZ, DL_FLOAT8_E5M2,
	DL_FLOAT8_E5M2FNUZ, DL_FLOAT8_E8M0FNU,
};

struct dl_device {
	int32_t type;
	int32_t id;
};

struct dl_data_type {
	uint8_t code;
	uint8_t bits;
	uint16_t lanes;
};

struct dl_tensor {
	void *data;
	struct dl_device device;
	int32_t ndim;
	struct dl_data_type dtype;
	int64_t *shape;
	int64_t *strides;	/* in elements; NULL: dense, last index fastest */
	uint64_t byte_offset;
};

struct dl_legacy {
	struct dl_tensor tensor;
	void *manager;
	void (*deleter)(struct dl_legacy *self);
};

struct dl_versioned {
	struct { uint32_t major, minor; } version;
	void *manager;
	void (*deleter)(struct dl_versioned *self);
	uint64_t flags;
	struct dl_tensor tensor;
};

#endif /* BUDDY_PYTHON_DLPACK_H */

/* Arguments of the Python functions: buffers of exact size, filters, kernels by name. */
#ifndef EDGE_BUFFERS_H
#define EDGE_BUFFERS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <string.h>

#include "hamming.h"

/* An argument that must be a buffer of exactly this many bytes. */
typedef struct {
    int arg;
    const char *what;
    Py_ssize_t length; /* -1: any length */
    int flags;
} wanted_buffer;

/* The bytes of a * b items of `size` bytes. Beyond what any buffer can have, the largest value: no
 * buffer then has the wanted length, so a wrong count is refused and never wraps around. */
static Py_ssize_t bytes_of(size_t a, size_t b, size_t size) {
    size_t items, bytes;
    if (__builtin_mul_overflow(a, b, &items) || __builtin_mul_overflow(items, size, &bytes) ||
        bytes > PY_SSIZE_T_MAX)
        return PY_SSIZE_T_MAX;
    return (Py_ssize_t)bytes;
}

static void release_all(Py_buffer *views, int count) {
    while (count--) PyBuffer_Release(&views[count]);
}

/* Gets all buffers; on failure, releases them and raises. */
static int get_all(PyObject *const *args, Py_buffer *views, const wanted_buffer *wanted, int count) {
    for (int i = 0; i < count; i++) {
        const wanted_buffer *want = &wanted[i];
        if (PyObject_GetBuffer(args[want->arg], &views[i], want->flags | PyBUF_FORMAT)) {
            release_all(views, i);
            return -1;
        }
        /* Numbers written over pointers would end the interpreter later, far from here. */
        if (views[i].format && strchr(views[i].format, 'O')) {
            PyErr_Format(PyExc_TypeError, "%s must have bytes or numbers, not objects", want->what);
            release_all(views, i + 1);
            return -1;
        }
        if (want->length >= 0 && views[i].len != want->length) {
            PyErr_Format(PyExc_ValueError, "%s must be %zd bytes, got %zd", want->what, want->length,
                         views[i].len);
            release_all(views, i + 1);
            return -1;
        }
    }
    return 0;
}

/* A filter from the arguments alive, group and wanted, each of which may be None. */
typedef struct {
    edge_filter filter;
    Py_buffer views[3];
    int used;
} held_filter;

static int get_filter(PyObject *const *args, uint32_t count, held_filter *held) {
    const wanted_buffer wanted[] = {{0, "alive", (Py_ssize_t)(((uint64_t)count + 7) / 8), PyBUF_SIMPLE},
                                    {1, "group", bytes_of(count, 4, 1), PyBUF_SIMPLE},
                                    {2, "wanted", -1, PyBUF_SIMPLE}};
    *held = (held_filter){.used = 0};
    if ((args[1] == Py_None) != (args[2] == Py_None)) {
        PyErr_SetString(PyExc_ValueError, "group and wanted must be given together");
        return -1;
    }
    for (int i = 0; i < 3; i++) {
        if (args[i] == Py_None) continue;
        if (get_all(args, &held->views[held->used], &wanted[i], 1)) {
            release_all(held->views, held->used);
            return -1;
        }
        const Py_buffer *view = &held->views[held->used++];
        if (i == 0) held->filter.alive = view->buf;
        if (i == 1) held->filter.group = view->buf;
        if (i == 2) {
            held->filter.wanted = view->buf;
            held->filter.groups = view->len < UINT32_MAX / 8 ? (uint32_t)(8 * view->len) : UINT32_MAX;
        }
    }
    return 0;
}

static const edge_filter *filter_of(const held_filter *held) { return held->used ? &held->filter : NULL; }

/* The shape of the codes: count, bits, and bytes per code. */
typedef struct {
    uint32_t count, bits;
    Py_ssize_t bytes;
} shape;

static int get_shape(PyObject *const *args, shape *of) {
    const unsigned long count = PyLong_AsUnsignedLong(args[0]), bits = PyLong_AsUnsignedLong(args[1]);
    if (PyErr_Occurred()) return -1;
    if (bits < 1 || bits > 8 * EDGE_MAX_BYTES || count >= UINT32_MAX) {
        PyErr_Format(PyExc_ValueError,
                     "count must be below %lu and bits between 1 and %d, got count %lu and bits %lu",
                     (unsigned long)UINT32_MAX, 8 * EDGE_MAX_BYTES, count, bits);
        return -1;
    }
    *of = (shape){(uint32_t)count, (uint32_t)bits, (Py_ssize_t)(bits + 7) / 8};
    return 0;
}

/* A number of queries or neighbors. */
static int get_count(PyObject *arg, const char *what, uint32_t *count) {
    const unsigned long value = PyLong_AsUnsignedLong(arg);
    if (PyErr_Occurred()) return -1;
    if (value >= UINT32_MAX) {
        PyErr_Format(PyExc_ValueError, "%s must be below %lu, got %lu", what, (unsigned long)UINT32_MAX, value);
        return -1;
    }
    *count = (uint32_t)value;
    return 0;
}

static const edge_scanner *get_kernel(PyObject *name) {
    const char *text = PyUnicode_AsUTF8AndSize(name, NULL);
    const edge_scanner *kernel = text ? edge_find_scanner(text) : NULL;
    if (text && !kernel) PyErr_Format(PyExc_ValueError, "unsupported kernel %s", text);
    return kernel;
}

static int check_nargs(const char *name, Py_ssize_t nargs, Py_ssize_t expected) {
    if (nargs == expected) return 0;
    PyErr_Format(PyExc_TypeError, "%s takes %zd arguments, got %zd", name, expected, nargs);
    return -1;
}

#endif

/* edge_runtime._hamming: the search for Python, through the buffer protocol and the stable ABI. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdlib.h>

#include "hamming.h"
#include "multi_index.h"

#define MOST_BUCKETED 2048 /* neighbours; beyond, counting is faster and takes less memory */

/* An argument that must be a buffer of just this many bytes. */
typedef struct {
    int arg;
    const char *what;
    Py_ssize_t length;
    int flags;
} wanted_buffer;

static void release_all(Py_buffer *views, int count) {
    while (count--) PyBuffer_Release(&views[count]);
}

/* All of them, or none and an exception. */
static int get_all(PyObject *const *args, Py_buffer *views, const wanted_buffer *wanted, int count) {
    for (int i = 0; i < count; i++) {
        const wanted_buffer *want = &wanted[i];
        if (PyObject_GetBuffer(args[want->arg], &views[i], want->flags)) {
            release_all(views, i);
            return -1;
        }
        if (views[i].len != want->length) {
            PyErr_Format(PyExc_ValueError, "%s is %zd bytes, expected %zd", want->what, views[i].len,
                         want->length);
            release_all(views, i + 1);
            return -1;
        }
    }
    return 0;
}

static int run(const edge_kernel *kernel, const uint8_t *codes, uint32_t count, uint32_t bits,
               const uint8_t *queries, uint32_t query_count, uint32_t k, edge_alive alive,
               int64_t *rows, int64_t *distances, uint32_t *found) {
    const uint32_t bytes = (bits + 7) / 8;
    const int bucketed = k <= MOST_BUCKETED;
    void *scratch = malloc(bucketed ? sizeof(uint32_t) * edge_search_words(bits, query_count, k)
                                    : sizeof(uint16_t) * count);
    if (!scratch) return -1;
    if (bucketed) {
        edge_search(kernel, codes, count, bits, queries, query_count, k, alive, scratch, rows,
                    distances, found);
    } else {
        for (uint32_t q = 0; q < query_count; q++)
            found[q] = edge_rank(kernel, codes, count, bits, queries + (size_t)q * bytes, k, alive, scratch,
                                 rows + (size_t)q * k, distances + (size_t)q * k);
    }
    free(scratch);
    return 0;
}

PyDoc_STRVAR(search_doc,
"search(codes, count, bits, queries, query_count, k, alive, rows, distances, found, kernel, /)\n"
"\n"
"The k nearest of `count` codes of `bits` bits (rows of ceil(bits / 8) bytes) for each query, exact,\n"
"ties by row. `alive` is None or a bit for each row. `rows` and `distances` are int64 [query_count, k]\n"
"and `found` uint32 [query_count]; all three are written. `kernel` is a name out of `kernels()`.");

static PyObject *search(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    (void)self;
    if (nargs != 11) return PyErr_Format(PyExc_TypeError, "search takes 11 arguments, not %zd", nargs);
    const unsigned long count = PyLong_AsUnsignedLong(args[1]), bits = PyLong_AsUnsignedLong(args[2]);
    const unsigned long query_count = PyLong_AsUnsignedLong(args[4]), k = PyLong_AsUnsignedLong(args[5]);
    if (PyErr_Occurred()) return NULL;
    if (bits < 1 || bits > 8 * EDGE_MAX_BYTES || count >= UINT32_MAX || query_count >= UINT32_MAX ||
        k < 1 || k > count)
        return PyErr_Format(PyExc_ValueError, "count %lu, bits %lu, queries %lu, k %lu: out of range",
                            count, bits, query_count, k);
    const char *name = PyUnicode_AsUTF8AndSize(args[10], NULL);
    if (!name) return NULL;
    const edge_kernel *kernel = edge_find_kernel(name);
    if (!kernel) return PyErr_Format(PyExc_ValueError, "no kernel %s here", name);

    const Py_ssize_t bytes = (Py_ssize_t)(bits + 7) / 8, answers = (Py_ssize_t)(query_count * k * 8);
    const wanted_buffer wanted[] = {
        {0, "codes", (Py_ssize_t)count * bytes, PyBUF_SIMPLE},
        {3, "queries", (Py_ssize_t)query_count * bytes, PyBUF_SIMPLE},
        {7, "rows", answers, PyBUF_WRITABLE},
        {8, "distances", answers, PyBUF_WRITABLE},
        {9, "found", (Py_ssize_t)query_count * 4, PyBUF_WRITABLE},
        {6, "alive", (Py_ssize_t)(count + 7) / 8, PyBUF_SIMPLE},
    };
    Py_buffer views[6];
    const int needed = args[6] == Py_None ? 5 : 6;
    if (get_all(args, views, wanted, needed)) return NULL;
    int failed;
    Py_BEGIN_ALLOW_THREADS
    failed = run(kernel, views[0].buf, (uint32_t)count, (uint32_t)bits, views[1].buf,
                 (uint32_t)query_count, (uint32_t)k, needed == 6 ? views[5].buf : NULL, views[2].buf,
                 views[3].buf, views[4].buf);
    Py_END_ALLOW_THREADS
    release_all(views, needed);
    if (failed) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

PyDoc_STRVAR(index_build_doc,
"index_build(codes, count, parts, part, width, starts, entries, /)\n"
"\n"
"Fill one part's table of a multi-index: `codes` uint32 [count, parts], `starts` uint32\n"
"[2**width + 1] and `entries` uint32 [count, parts + 1], which are written.");

static PyObject *index_build(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    (void)self;
    if (nargs != 7) return PyErr_Format(PyExc_TypeError, "index_build takes 7 arguments, not %zd", nargs);
    const unsigned long count = PyLong_AsUnsignedLong(args[1]), parts = PyLong_AsUnsignedLong(args[2]);
    const unsigned long part = PyLong_AsUnsignedLong(args[3]), width = PyLong_AsUnsignedLong(args[4]);
    if (PyErr_Occurred()) return NULL;
    if (count >= UINT32_MAX || parts < 1 || parts > EDGE_MAX_PARTS || part >= parts ||
        width > EDGE_MAX_PART_BITS)
        return PyErr_Format(PyExc_ValueError, "count %lu, parts %lu, part %lu, width %lu: out of range",
                            count, parts, part, width);
    const wanted_buffer wanted[] = {
        {0, "codes", (Py_ssize_t)(count * parts * 4), PyBUF_SIMPLE},
        {5, "starts", (Py_ssize_t)((((size_t)1 << width) + 1) * 4), PyBUF_WRITABLE},
        {6, "entries", (Py_ssize_t)(count * (parts + 1) * 4), PyBUF_WRITABLE},
    };
    Py_buffer views[3];
    if (get_all(args, views, wanted, 3)) return NULL;
    const uint32_t *codes = views[0].buf;
    int inside = 1;
    Py_BEGIN_ALLOW_THREADS
    for (size_t row = 0; row < count && inside; row++) inside = !(codes[row * parts + part] >> width);
    if (inside)
        edge_index_build(codes, (uint32_t)count, (uint32_t)parts, (uint32_t)part, (uint32_t)width,
                         views[1].buf, views[2].buf);
    Py_END_ALLOW_THREADS
    release_all(views, 3);
    if (!inside) return PyErr_Format(PyExc_ValueError, "a part is wider than %lu bits", width);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(index_search_doc,
"index_search(tables, widths, count, query, k, alive, work, rows, distances, /)\n"
"\n"
"The k nearest by a multi-index. `tables` is a tuple starts, entries, starts, entries, ...; `query`\n"
"uint32 [parts]; `rows` and `distances`, int64 [k], are written. Gives how many were found, or None\n"
"when more than `work` candidates would have had to be looked at.");

static PyObject *index_search(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    (void)self;
    if (nargs != 9) return PyErr_Format(PyExc_TypeError, "index_search takes 9 arguments, not %zd", nargs);
    const Py_ssize_t parts = PyTuple_Size(args[1]);
    const unsigned long count = PyLong_AsUnsignedLong(args[2]), k = PyLong_AsUnsignedLong(args[4]);
    const unsigned long long work = PyLong_AsUnsignedLongLong(args[6]);
    if (PyErr_Occurred()) return NULL;
    if (parts < 1 || parts > EDGE_MAX_PARTS || PyTuple_Size(args[0]) != 2 * parts || k < 1 || k > count)
        return PyErr_Format(PyExc_ValueError, "%zd parts, k %lu, count %lu: out of range", parts, k, count);
    edge_multi_index index = {.parts = (uint32_t)parts, .count = (uint32_t)count};
    PyObject *objects[2 * EDGE_MAX_PARTS + 4];
    wanted_buffer wanted[2 * EDGE_MAX_PARTS + 4];
    int needed = 0;
    for (Py_ssize_t part = 0; part < parts; part++) {
        const unsigned long width = PyLong_AsUnsignedLong(PyTuple_GetItem(args[1], part));
        if (PyErr_Occurred()) return NULL;
        if (width > EDGE_MAX_PART_BITS) return PyErr_Format(PyExc_ValueError, "a part of %lu bits", width);
        index.width[part] = (uint32_t)width;
        for (int which = 0; which < 2; which++) {
            objects[needed] = PyTuple_GetItem(args[0], 2 * part + which);
            wanted[needed] = which ? (wanted_buffer){needed, "entries", (Py_ssize_t)(count * (parts + 1) * 4), PyBUF_SIMPLE}
                                   : (wanted_buffer){needed, "starts", (Py_ssize_t)((((size_t)1 << width) + 1) * 4), PyBUF_SIMPLE};
            needed++;
        }
    }
    const wanted_buffer rest[] = {
        {3, "query", parts * 4, PyBUF_SIMPLE},
        {7, "rows", (Py_ssize_t)k * 8, PyBUF_WRITABLE},
        {8, "distances", (Py_ssize_t)k * 8, PyBUF_WRITABLE},
        {5, "alive", (Py_ssize_t)(count + 7) / 8, PyBUF_SIMPLE},
    };
    for (int i = 0; i < (args[5] == Py_None ? 3 : 4); i++, needed++) {
        objects[needed] = args[rest[i].arg];
        wanted[needed] = rest[i];
        wanted[needed].arg = needed;
    }
    Py_buffer views[2 * EDGE_MAX_PARTS + 4];
    if (get_all(objects, views, wanted, needed)) return NULL;
    for (Py_ssize_t part = 0; part < parts; part++) {
        index.starts[part] = views[2 * part].buf;
        index.entries[part] = views[2 * part + 1].buf;
    }
    const Py_buffer *tail = views + 2 * parts;
    uint64_t *heap = malloc(sizeof(uint64_t) * k);
    uint32_t found = 0;
    if (heap) {
        Py_BEGIN_ALLOW_THREADS
        found = edge_index_search(&index, tail[0].buf, (uint32_t)k,
                                  needed - 2 * (int)parts == 4 ? tail[3].buf : NULL, work, heap,
                                  tail[1].buf, tail[2].buf);
        Py_END_ALLOW_THREADS
        free(heap);
    }
    release_all(views, needed);
    if (!heap) return PyErr_NoMemory();
    if (found == UINT32_MAX) Py_RETURN_NONE;
    return PyLong_FromUnsignedLong(found);
}

static PyObject *kernels(PyObject *self, PyObject *unused) {
    (void)self, (void)unused;
    static const char *const known[] = {"avx512", "avx2", "neon", "scalar"};
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list && i < sizeof known / sizeof *known; i++) {
        if (!edge_find_kernel(known[i])) continue;
        PyObject *name = PyUnicode_FromString(known[i]);
        if (!name || PyList_Append(list, name)) Py_CLEAR(list);
        Py_XDECREF(name);
    }
    return list;
}

static PyMethodDef methods[] = {
    {"search", (PyCFunction)(void (*)(void))search, METH_FASTCALL, search_doc},
    {"index_build", (PyCFunction)(void (*)(void))index_build, METH_FASTCALL, index_build_doc},
    {"index_search", (PyCFunction)(void (*)(void))index_search, METH_FASTCALL, index_search_doc},
    {"kernels", kernels, METH_NOARGS, "kernels()\n\nNames of what this CPU can run, fastest first."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_hamming", "Exact Hamming search, compiled.", 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__hamming(void) { return PyModule_Create(&module); }

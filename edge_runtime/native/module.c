/* edge_runtime._hamming: the search for Python, through the buffer protocol and the stable ABI. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdlib.h>

#include "hamming.h"

#define MOST_BUCKETED 2048 /* neighbours; beyond, counting is faster and takes less memory */

static int get_bytes(PyObject *object, Py_buffer *view, const char *what, Py_ssize_t length, int flags) {
    if (PyObject_GetBuffer(object, view, flags)) return -1;
    if (view->len == length) return 0;
    PyErr_Format(PyExc_ValueError, "%s is %zd bytes, expected %zd", what, view->len, length);
    PyBuffer_Release(view);
    return -1;
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
    const struct { int arg; const char *what; Py_ssize_t length; int flags; } wanted[] = {
        {0, "codes", (Py_ssize_t)count * bytes, PyBUF_SIMPLE},
        {3, "queries", (Py_ssize_t)query_count * bytes, PyBUF_SIMPLE},
        {7, "rows", answers, PyBUF_WRITABLE},
        {8, "distances", answers, PyBUF_WRITABLE},
        {9, "found", (Py_ssize_t)query_count * 4, PyBUF_WRITABLE},
        {6, "alive", (Py_ssize_t)(count + 7) / 8, PyBUF_SIMPLE},
    };
    Py_buffer views[6];
    int got = 0, failed = 0;
    const int needed = args[6] == Py_None ? 5 : 6;
    for (; got < needed; got++)
        if (get_bytes(args[wanted[got].arg], &views[got], wanted[got].what, wanted[got].length,
                      wanted[got].flags))
            break;
    if (got == needed) {
        Py_BEGIN_ALLOW_THREADS
        failed = run(kernel, views[0].buf, (uint32_t)count, (uint32_t)bits, views[1].buf,
                     (uint32_t)query_count, (uint32_t)k, needed == 6 ? views[5].buf : NULL,
                     views[2].buf, views[3].buf, views[4].buf);
        Py_END_ALLOW_THREADS
    }
    for (int i = 0; i < got; i++) PyBuffer_Release(&views[i]);
    if (got < needed) return NULL;
    if (failed) return PyErr_NoMemory();
    Py_RETURN_NONE;
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
    {"kernels", kernels, METH_NOARGS, "kernels()\n\nNames of what this CPU can run, fastest first."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_hamming", "Exact Hamming search, compiled.", 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__hamming(void) { return PyModule_Create(&module); }

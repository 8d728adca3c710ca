/* edge_runtime._hamming: the searches for Python, through the buffer protocol and the stable ABI. */
#include "buffers.h"

#include <stdlib.h>
#include <string.h>

#include "bus_error.h"
#include "multi_index.h"

#define MOST_BUCKETED 2048 /* neighbors; beyond, counting is faster and takes less memory */

/* -- scans -------------------------------------------------------------------------------------- */

static int search_ranked(const edge_scanner *kernel, const uint8_t *codes, const shape *of,
                         const uint8_t *queries, uint32_t query_count, uint32_t k,
                         const edge_filter *filter, int64_t *rows, int64_t *distances, uint32_t *found) {
    uint32_t *order = malloc((sizeof(uint32_t) + sizeof(uint16_t)) * (size_t)of->count);
    if (!order) return -1;
    uint16_t *measured = (uint16_t *)(order + of->count);
    for (uint32_t q = 0; q < query_count; q++, rows += k, distances += k) {
        const uint32_t passed = edge_rank(kernel, codes, of->count, of->bits, queries + (size_t)q * of->bytes,
                                          filter, measured, order);
        found[q] = passed < k ? passed : k;
        for (uint32_t i = 0; i < found[q]; i++) {
            rows[i] = order[i];
            distances[i] = measured[order[i]];
        }
    }
    free(order);
    return 0;
}

PyDoc_STRVAR(search_doc,
"search(codes, count, bits, queries, query_count, k, alive, group, wanted, rows, distances, found, kernel, /)\n"
"\n"
"Find the k nearest of `count` codes of `bits` bits (rows of ceil(bits / 8) bytes) for each query,\n"
"exactly, ties by row. `alive` is None or one bit per row. `group` (uint32 [count]) and `wanted` (one\n"
"bit per group) are None or exclude rows of unwanted groups. `rows` and `distances` (int64\n"
"[query_count, k]) and `found` (uint32 [query_count]) receive the results. `kernel` is one of\n"
"`kernels()`.");

static PyObject *search(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    (void)self;
    shape of;
    held_filter held;
    uint32_t query_count, k;
    if (check_nargs("search", nargs, 13) || get_shape(args + 1, &of)) return NULL;
    if (get_count(args[4], "query_count", &query_count) || get_count(args[5], "k", &k)) return NULL;
    if (k < 1 || k > of.count)
        return PyErr_Format(PyExc_ValueError, "k must be between 1 and %u, got %u", of.count, k);
    const edge_scanner *kernel = get_kernel(args[12]);
    if (!kernel) return NULL;
    const Py_ssize_t answers = bytes_of(query_count, k, 8);
    const wanted_buffer wanted[] = {
        {0, "codes", bytes_of(of.count, of.bytes, 1), PyBUF_SIMPLE},
        {3, "queries", bytes_of(query_count, of.bytes, 1), PyBUF_SIMPLE},
        {9, "rows", answers, PyBUF_WRITABLE},
        {10, "distances", answers, PyBUF_WRITABLE},
        {11, "found", bytes_of(query_count, 4, 1), PyBUF_WRITABLE},
    };
    Py_buffer views[5];
    if (get_filter(args + 6, of.count, &held)) return NULL;
    if (get_all(args, views, wanted, 5)) {
        release_all(held.views, held.used);
        return NULL;
    }
    int failed = 0;
    Py_BEGIN_ALLOW_THREADS
    if (k > MOST_BUCKETED) {
        failed = search_ranked(kernel, views[0].buf, &of, views[1].buf, query_count, k, filter_of(&held),
                               views[2].buf, views[3].buf, views[4].buf);
    } else {
        void *words = malloc(sizeof(uint32_t) * edge_search_words(of.bits, query_count, k));
        failed = !words;
        if (words)
            edge_search(kernel, views[0].buf, of.count, of.bits, views[1].buf, query_count, k,
                        filter_of(&held), words, views[2].buf, views[3].buf, views[4].buf);
        free(words);
    }
    Py_END_ALLOW_THREADS
    release_all(views, 5);
    release_all(held.views, held.used);
    if (failed) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

PyDoc_STRVAR(rank_doc,
"rank(codes, count, bits, queries, query_count, order, kernel, /)\n"
"\n"
"Sort all rows by their distance to each query, stably, into `order` [query_count, count]: uint16 for\n"
"up to 65,536 rows, else uint32.");

static PyObject *rank(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    (void)self;
    shape of;
    uint32_t query_count;
    if (check_nargs("rank", nargs, 7) || get_shape(args + 1, &of)) return NULL;
    if (get_count(args[4], "query_count", &query_count)) return NULL;
    const edge_scanner *kernel = get_kernel(args[6]);
    if (!kernel) return NULL;
    const int narrow = of.count <= EDGE_SHORT_ROWS;
    const wanted_buffer wanted[] = {
        {0, "codes", bytes_of(of.count, of.bytes, 1), PyBUF_SIMPLE},
        {3, "queries", bytes_of(query_count, of.bytes, 1), PyBUF_SIMPLE},
        {5, "order", bytes_of(query_count, of.count, narrow ? 2 : 4), PyBUF_WRITABLE},
    };
    Py_buffer views[3];
    if (get_all(args, views, wanted, 3)) return NULL;
    const size_t room = narrow ? edge_rank_scratch(of.count, of.bits) : of.count;
    uint16_t *scratch = malloc(sizeof(uint16_t) * (room + 1));
    if (scratch) {
        Py_BEGIN_ALLOW_THREADS
        for (size_t q = 0; q < query_count; q++) {
            const uint8_t *query = (const uint8_t *)views[1].buf + q * (size_t)of.bytes;
            if (narrow)
                edge_rank_short(kernel, views[0].buf, of.count, of.bits, query, scratch,
                                (uint16_t *)views[2].buf + q * of.count);
            else
                edge_rank(kernel, views[0].buf, of.count, of.bits, query, NULL, scratch,
                          (uint32_t *)views[2].buf + q * of.count);
        }
        Py_END_ALLOW_THREADS
        free(scratch);
    }
    release_all(views, 3);
    if (!scratch) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

PyDoc_STRVAR(collect_doc,
"collect(codes, count, bits, query, limit, alive, group, wanted, rows, distances, kernel, /)\n"
"\n"
"Write the rows nearer than `limit` that pass the filter, in order, to `rows` (uint32 [room]) and\n"
"`distances` (uint16 [room]). Return their number; at most `room` are written.");

static PyObject *collect(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    (void)self;
    shape of;
    held_filter held;
    if (check_nargs("collect", nargs, 11) || get_shape(args + 1, &of)) return NULL;
    const unsigned long limit = PyLong_AsUnsignedLong(args[4]);
    if (PyErr_Occurred()) return NULL;
    const edge_scanner *kernel = get_kernel(args[10]);
    if (!kernel) return NULL;
    const wanted_buffer wanted[] = {
        {0, "codes", bytes_of(of.count, of.bytes, 1), PyBUF_SIMPLE},
        {3, "query", of.bytes, PyBUF_SIMPLE},
        {8, "rows", -1, PyBUF_WRITABLE},
        {9, "distances", -1, PyBUF_WRITABLE},
    };
    Py_buffer views[4];
    if (get_filter(args + 5, of.count, &held)) return NULL;
    if (get_all(args, views, wanted, 4)) {
        release_all(held.views, held.used);
        return NULL;
    }
    const size_t most = (size_t)views[2].len / 4, pairs = (size_t)views[3].len / 2;
    size_t found;
    Py_BEGIN_ALLOW_THREADS
    found = edge_width_of(kernel, (uint32_t)of.bytes)
                ->collect(views[0].buf, of.count, views[1].buf, (uint32_t)(limit > of.bits ? of.bits + 1 : limit),
                          filter_of(&held), views[2].buf, views[3].buf, most < pairs ? most : pairs);
    Py_END_ALLOW_THREADS
    release_all(views, 4);
    release_all(held.views, held.used);
    return PyLong_FromSize_t(found);
}

/* -- the multi-index, owned by a capsule -------------------------------------------------------- */

#define CAPSULE "edge_runtime._hamming.index"

static void free_capsule(PyObject *capsule) {
    edge_index_free(PyCapsule_GetPointer(capsule, CAPSULE));
}

/* The index in args[0], which must have as many rows as args[1] says. */
static const edge_index *get_index(PyObject *const *args) {
    uint32_t count;
    const edge_index *index = PyCapsule_GetPointer(args[0], CAPSULE);
    if (!index || get_count(args[1], "count", &count)) return NULL;
    if (count == edge_index_count(index)) return index;
    PyErr_Format(PyExc_ValueError, "the index has %u rows, got count %u", edge_index_count(index), count);
    return NULL;
}

PyDoc_STRVAR(index_new_doc,
"index_new(codes, count, bits, /)\n"
"\n"
"Return a multi-index of the distinct codes among `count` codes; it is not divided yet.");

static PyObject *index_new(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    (void)self;
    shape of;
    Py_buffer codes;
    if (check_nargs("index_new", nargs, 3) || get_shape(args + 1, &of)) return NULL;
    const wanted_buffer wanted = {0, "codes", bytes_of(of.count, of.bytes, 1), PyBUF_SIMPLE};
    if (get_all(args, &codes, &wanted, 1)) return NULL;
    edge_index *index;
    Py_BEGIN_ALLOW_THREADS
    index = edge_index_new(codes.buf, of.count, of.bits);
    Py_END_ALLOW_THREADS
    release_all(&codes, 1);
    if (!index) return PyErr_NoMemory();
    PyObject *capsule = PyCapsule_New(index, CAPSULE, free_capsule);
    if (!capsule) edge_index_free(index);
    return capsule;
}

PyDoc_STRVAR(index_divide_doc,
"index_divide(index, parts, order, /)\n"
"\n"
"Build the tables of `parts` parts of at most 28 bits; call once, before any search. `order` (uint16\n"
"[bits]) lists the bits part by part.");

static PyObject *index_divide(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    (void)self;
    if (check_nargs("index_divide", nargs, 3)) return NULL;
    edge_index *index = PyCapsule_GetPointer(args[0], CAPSULE);
    const unsigned long parts = PyLong_AsUnsignedLong(args[1]);
    if (PyErr_Occurred()) return NULL;
    const uint32_t bits = edge_index_bits(index);
    if (parts < 1 || parts > EDGE_MAX_PARTS || parts > bits || (bits + parts - 1) / parts > EDGE_MAX_PART_BITS ||
        edge_index_parts(index))
        return PyErr_Format(PyExc_ValueError, "cannot divide into %lu parts: out of range, or already divided", parts);
    Py_buffer view;
    const wanted_buffer wanted = {2, "order", 2 * (Py_ssize_t)bits, PyBUF_SIMPLE};
    if (get_all(args, &view, &wanted, 1)) return NULL;
    const uint16_t *order = view.buf;
    int inside = 1, made = 0;
    for (uint32_t place = 0; place < bits; place++) inside &= order[place] < bits;
    if (inside) {
        Py_BEGIN_ALLOW_THREADS
        made = edge_index_divide(index, (uint32_t)parts, order);
        Py_END_ALLOW_THREADS
    }
    release_all(&view, 1);
    if (!inside) return PyErr_Format(PyExc_ValueError, "order contains a bit beyond %u", bits);
    if (!made) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

PyDoc_STRVAR(index_facts_doc,
"index_facts(index, /)\n\nReturn the number of distinct codes and the size in bytes.");

static PyObject *index_facts(PyObject *self, PyObject *capsule) {
    (void)self;
    const edge_index *index = PyCapsule_GetPointer(capsule, CAPSULE);
    if (!index) return NULL;
    return Py_BuildValue("In", edge_index_distinct(index), (Py_ssize_t)edge_index_size(index));
}

PyDoc_STRVAR(index_search_doc,
"index_search(index, count, query, k, alive, group, wanted, rows, distances, work, kernel, /)\n"
"\n"
"Find the k nearest of the `count` rows in the index, as `search`. `work` limits the effort; 0 scans\n"
"the distinct codes with `kernel` instead. Return the number of rows found (-1 if the limit was\n"
"reached) and the remaining `work`.");

static PyObject *index_search(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    (void)self;
    held_filter held;
    if (check_nargs("index_search", nargs, 11)) return NULL;
    uint32_t k;
    const edge_index *index = get_index(args);
    if (!index || get_count(args[3], "k", &k)) return NULL;
    uint64_t work = PyLong_AsUnsignedLongLong(args[9]);
    if (PyErr_Occurred()) return NULL;
    if (k < 1 || k > edge_index_count(index) || (work && !edge_index_parts(index)))
        return PyErr_Format(PyExc_ValueError, "k %u is out of range, or the index is not divided", k);
    const edge_scanner *kernel = get_kernel(args[10]);
    if (!kernel) return NULL;
    const wanted_buffer wanted[] = {
        {2, "query", (Py_ssize_t)(edge_index_bits(index) + 7) / 8, PyBUF_SIMPLE},
        {7, "rows", bytes_of(k, 8, 1), PyBUF_WRITABLE},
        {8, "distances", bytes_of(k, 8, 1), PyBUF_WRITABLE},
    };
    Py_buffer views[3];
    if (get_filter(args + 4, edge_index_count(index), &held)) return NULL;
    if (get_all(args, views, wanted, 3)) {
        release_all(held.views, held.used);
        return NULL;
    }
    const int scanned = !work;
    uint32_t found = EDGE_EXHAUSTED;
    uint64_t *heap = malloc(sizeof(uint64_t) * (size_t)k);
    if (heap) {
        Py_BEGIN_ALLOW_THREADS
        found = scanned ? edge_index_scan(index, kernel, views[0].buf, k, filter_of(&held), heap,
                                          views[1].buf, views[2].buf)
                        : edge_index_nearest(index, views[0].buf, k, filter_of(&held), &work, heap,
                                             views[1].buf, views[2].buf);
        Py_END_ALLOW_THREADS
    }
    free(heap);
    release_all(views, 3);
    release_all(held.views, held.used);
    if (!heap || (scanned && found == EDGE_EXHAUSTED)) return PyErr_NoMemory();
    return Py_BuildValue("LK", found == EDGE_EXHAUSTED ? -1LL : (long long)found, (unsigned long long)work);
}

PyDoc_STRVAR(index_collect_doc,
"index_collect(index, count, query, limit, alive, group, wanted, rows, distances, work, /)\n"
"\n"
"Find the rows nearer than `limit`, as `collect`, in no particular order. Return -1 if `work` is used\n"
"up.");

static PyObject *index_collect(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    (void)self;
    held_filter held;
    if (check_nargs("index_collect", nargs, 10)) return NULL;
    const edge_index *index = get_index(args);
    if (!index) return NULL;
    const unsigned long limit = PyLong_AsUnsignedLong(args[3]);
    uint64_t work = PyLong_AsUnsignedLongLong(args[9]);
    if (PyErr_Occurred()) return NULL;
    const uint32_t bits = edge_index_bits(index);
    if (!edge_index_parts(index)) return PyErr_Format(PyExc_ValueError, "the index is not divided");
    const wanted_buffer wanted[] = {
        {2, "query", (Py_ssize_t)(bits + 7) / 8, PyBUF_SIMPLE},
        {7, "rows", -1, PyBUF_WRITABLE},
        {8, "distances", -1, PyBUF_WRITABLE},
    };
    Py_buffer views[3];
    if (get_filter(args + 4, edge_index_count(index), &held)) return NULL;
    if (get_all(args, views, wanted, 3)) {
        release_all(held.views, held.used);
        return NULL;
    }
    const size_t most = (size_t)views[1].len / 4, pairs = (size_t)views[2].len / 2;
    size_t found;
    Py_BEGIN_ALLOW_THREADS
    found = edge_index_collect(index, views[0].buf, (uint32_t)(limit > bits ? bits + 1 : limit), filter_of(&held),
                               &work, views[1].buf, views[2].buf, most < pairs ? most : pairs);
    Py_END_ALLOW_THREADS
    release_all(views, 3);
    release_all(held.views, held.used);
    return PyLong_FromLongLong(found == SIZE_MAX ? -1LL : (long long)found);
}

static PyObject *kernels(PyObject *self, PyObject *unused) {
    (void)self, (void)unused;
    static const char *const known[] = {"avx512", "avx2", "neon", "scalar"};
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list && i < sizeof known / sizeof *known; i++) {
        if (!edge_find_scanner(known[i])) continue;
        PyObject *name = PyUnicode_FromString(known[i]);
        if (!name || PyList_Append(list, name)) Py_CLEAR(list);
        Py_XDECREF(name);
    }
    return list;
}

/* -- mapped files ------------------------------------------------------------------------------ */

PyDoc_STRVAR(watch_doc,
"watch(mapped, /)\n"
"\n"
"Handle SIGBUS, and return the number of the mapped region `mapped` (a buffer): pages that its file\n"
"loses read as zeros then. None handles only SIGBUS elsewhere, which ends the process with one line.\n"
"Return -1 if the region cannot be watched.");

static PyObject *watch(PyObject *self, PyObject *mapped) {
    (void)self;
    Py_buffer view;
    int number = edge_watch_bus_errors();
    if (!number && mapped != Py_None) {
        if (PyObject_GetBuffer(mapped, &view, PyBUF_SIMPLE)) return NULL;
        number = edge_watch_region(view.buf, (size_t)view.len);
        PyBuffer_Release(&view);
    }
    return PyLong_FromLong(number);
}

PyDoc_STRVAR(forget_doc, "forget(number, /)\n\nWatch a region no longer; call it before the region is unmapped.");

static PyObject *forget(PyObject *self, PyObject *arg) {
    (void)self;
    const long number = PyLong_AsLong(arg);
    if (PyErr_Occurred()) return NULL;
    if (number >= 0 && number < INT32_MAX) edge_forget_region((int)number);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(lost_doc, "lost(number, /)\n\nReturn whether a page of a watched region was lost.");

static PyObject *lost(PyObject *self, PyObject *arg) {
    (void)self;
    const long number = PyLong_AsLong(arg);
    if (PyErr_Occurred()) return NULL;
    return PyBool_FromLong(number < 0 || number >= INT32_MAX || edge_region_lost((int)number));
}

/* Returns the strings of a list of bytes and NULL after them; never freed. */
static char **strings_of(PyObject *list) {
    const Py_ssize_t count = PyList_Size(list);
    if (count < 0) return NULL;
    char **strings = calloc((size_t)count + 1, sizeof *strings);
    if (!strings) PyErr_NoMemory();
    for (Py_ssize_t i = 0; strings && i < count; i++) {
        char *text = PyBytes_AsString(PyList_GetItem(list, i));
        if (!text) return NULL;
        strings[i] = strdup(text);
        if (!strings[i]) return (char **)PyErr_NoMemory();
    }
    return strings;
}

PyDoc_STRVAR(start_again_doc,
"start_again(arguments, environment, started_s, /)\n"
"\n"
"Start the program anew, instead of ending the process, if mapped memory is lost that is not watched,\n"
"but not within 10 s of `started_s` (seconds since the system was started). `arguments` and\n"
"`environment` are lists of bytes. The first variable is NAME=digits, and tells the new process its\n"
"`started_s`. None for `arguments` takes this back.");

static PyObject *start_again(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    (void)self;
    char **arguments = NULL, **environment = NULL;
    if (check_nargs("start_again", nargs, 3)) return NULL;
    const long started_s = PyLong_AsLong(args[2]);
    if (started_s == -1 && PyErr_Occurred()) return NULL;
    if (args[0] != Py_None) {
        arguments = strings_of(args[0]);
        environment = arguments ? strings_of(args[1]) : NULL;
        if (!environment) return NULL;
        if (!arguments[0] || !environment[0] || !strchr(environment[0], '='))
            return PyErr_Format(PyExc_ValueError, "arguments and environment must not be empty");
    }
    edge_start_again(arguments, environment, started_s);
    Py_RETURN_NONE;
}

#define FAST(NAME) {#NAME, (PyCFunction)(void (*)(void))NAME, METH_FASTCALL, NAME##_doc}

static PyMethodDef methods[] = {
    FAST(search),
    FAST(rank),
    FAST(collect),
    FAST(index_new),
    FAST(index_divide),
    {"index_facts", index_facts, METH_O, index_facts_doc},
    FAST(index_search),
    FAST(index_collect),
    {"watch", watch, METH_O, watch_doc},
    {"forget", forget, METH_O, forget_doc},
    {"lost", lost, METH_O, lost_doc},
    FAST(start_again),
    {"kernels", kernels, METH_NOARGS, "kernels()\n\nReturn the names of the kernels that this CPU supports, fastest first."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_hamming", "Compiled exact Hamming search.", 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__hamming(void) { return PyModule_Create(&module); }

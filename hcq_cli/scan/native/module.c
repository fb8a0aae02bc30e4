/* The Python module of the scan kernels (scan.h): checks what it is given and lets go of the GIL. */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>
#include <string.h>

#include "scan.h"

#define INTERFACE 3     /* of `scan`, as kernels.py calls it: a build that lags behind is told by it */

enum { CODES, TABLES, DEAD, ORDER, VIDEOS, VISITS, ASKERS, SCORES, ROWS, FOUND_VIDEOS, COUNTS, BUFFERS };

static const char *misfit(Py_ssize_t S, Py_ssize_t Q, Py_ssize_t K, Py_ssize_t k, long long slots,
                          const Py_buffer *given)
{
    const Py_ssize_t askers = given[ASKERS].len / (Py_ssize_t)sizeof(int32_t);
    if (S < 1 || Q < 1 || K < 1 || K > ENTRIES || k < 1 || k >= INT32_MAX / 4 || slots < 0) return "sizes out of range";
    if (given[CODES].len < (slots + WIDTH - 1) / WIDTH * S * WIDTH) return "codes too short";
    if (given[TABLES].len < Q * S * K * (Py_ssize_t)sizeof(float)) return "tables too short";
    if (given[DEAD].buf && !given[ORDER].buf && given[DEAD].len < slots) return "dead too short";
    if (given[ORDER].buf && given[ORDER].len < slots * (Py_ssize_t)sizeof(uint32_t)) return "order too short";
    if (given[VIDEOS].buf && given[VIDEOS].len < slots * (Py_ssize_t)sizeof(uint32_t)) return "videos too short";
    if (given[VIDEOS].buf && given[FOUND_VIDEOS].len < Q * k * (Py_ssize_t)sizeof(uint32_t)) return "results too short";
    if (given[SCORES].len < Q * k * 8 || given[ROWS].len < Q * k * 8) return "results too short";
    if (given[COUNTS].len < Q * 8) return "counts too short";
    const visit *visits = given[VISITS].buf;
    for (Py_ssize_t v = 0; visits && v < given[VISITS].len / (Py_ssize_t)sizeof *visits; v++) {
        if (visits[v].first_slot < 0 || visits[v].first_slot > slots || visits[v].stop_slot > slots) return "a visit beyond the codes";
        if (visits[v].first_asker < 0 || visits[v].stop_asker > askers) return "a visit beyond the askers";
    }
    const int32_t *asker = given[ASKERS].buf;
    for (Py_ssize_t n = 0; n < askers; n++)
        if (asker[n] < 0 || asker[n] >= Q) return "an asker beyond the queries";
    return NULL;
}

static PyObject *py_scan(PyObject *module, PyObject *arguments, PyObject *named)
{
    (void)module;
    static char *names[] = {"kernel", "codes", "slots", "S",      "tables", "Q",    "K",            "dead",   "order",
                            "videos", "visits", "askers", "scores", "rows", "found_videos", "counts", "k", NULL};
    const char *name;
    Py_buffer given[BUFFERS];
    Py_ssize_t S, Q, K, k;
    long long slots;
    int done = 0;
    if (!PyArg_ParseTupleAndKeywords(arguments, named, "sy*Lny*nnz*z*z*z*z*w*w*z*w*n:scan", names, &name, &given[CODES],
                                     &slots, &S, &given[TABLES], &Q, &K, &given[DEAD], &given[ORDER], &given[VIDEOS],
                                     &given[VISITS], &given[ASKERS], &given[SCORES], &given[ROWS],
                                     &given[FOUND_VIDEOS], &given[COUNTS], &k))
        return NULL;
    kernel known[MOST_KERNELS];
    const kernel *by = NULL;
    for (int count = hcq_kernels(known); count--;)
        if (!strcmp(known[count].name, name)) by = known + count;
    const char *problem = by ? misfit(S, Q, K, k, slots, given) : "no such kernel";
    if (!problem) {
        const place in = {given[CODES].buf, S, slots, given[ORDER].buf, given[DEAD].buf, given[DEAD].len,
                          given[VIDEOS].buf};
        const answers found = {given[SCORES].buf, given[ROWS].buf, in.videos ? given[FOUND_VIDEOS].buf : NULL,
                               given[COUNTS].buf, k};
        const visit *visits = given[VISITS].buf;
        const Py_ssize_t V = visits ? given[VISITS].len / (Py_ssize_t)sizeof *visits : 0;
        const int32_t *askers = visits ? given[ASKERS].buf : NULL;
        Py_BEGIN_ALLOW_THREADS
        done = hcq_scan(by, &in, visits, V, askers, given[TABLES].buf, Q, K, &found);
        Py_END_ALLOW_THREADS
    }
    for (int n = 0; n < BUFFERS; n++)
        if (given[n].obj) PyBuffer_Release(&given[n]);
    if (problem) PyErr_SetString(PyExc_ValueError, problem);
    else if (!done) PyErr_NoMemory();
    if (problem || !done) return NULL;
    Py_RETURN_NONE;
}

static PyObject *py_kernels(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    kernel known[MOST_KERNELS];
    const int count = hcq_kernels(known);
    PyObject *names = PyList_New(0);
    for (int n = 0; names && n < count; n++) {
        PyObject *name = PyUnicode_FromString(known[n].name);
        if (!name || PyList_Append(names, name)) Py_CLEAR(names);
        Py_XDECREF(name);
    }
    return names;
}

static PyMethodDef methods[] = {
    {"scan", (PyCFunction)(void (*)(void))py_scan, METH_VARARGS | METH_KEYWORDS,
     "scan(kernel, codes, slots, S, tables, Q, K, dead, order, videos, visits, askers, scores, rows, found_videos,\n"
     "     counts, k)\n\n"
     "Fill float64 scores [Q, k] and int64 rows [Q, k] with the best, unordered, and int64 counts [Q]: how many.\n"
     "Where uint32 videos [slots] are given the best row of each alone, with uint32 found_videos [Q, k].\n"
     "visits int64 [V, 4] are ranges of slots and of askers, int32 numbers of queries; None: all slots, by all."},
    {"kernels", py_kernels, METH_NOARGS, "Names of the kernels this processor can run, the fastest first."},
    {NULL, NULL, 0, NULL},
};
static int add_constants(PyObject *module) { return PyModule_AddIntConstant(module, "INTERFACE", INTERFACE); }

static PyModuleDef_Slot slots[] = {{Py_mod_exec, (void *)add_constants}, {0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_scan", "Scan kernels in C.", 0, methods, slots,
                                        NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__scan(void) { return PyModuleDef_Init(&definition); }

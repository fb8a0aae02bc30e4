/* Moving codes between their two orders at the speed of memory, without the GIL.
 *
 * A code file holds a video's codes side by side, [n, S]; a segment holds, in blocks of 256 videos, one
 * sub-quantizer's codes side by side, [B, S, 256] (scan/blocks.py). Going from one to the other is a transpose of
 * bytes, done 16 × 16 at a time in registers so that every cache line is read and written once.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>
#include <stdint.h>
#include <string.h>

#define WIDTH 256 /* videos in a block */
#define SIDE 16   /* of a tile */

#if defined(__SSE2__)
#include <emmintrin.h>

/* Interleave neighbours four times: row r of the input becomes column r of the output. */
static void turn_tile(const uint8_t *from, Py_ssize_t stride, uint8_t *to, Py_ssize_t to_stride)
{
    __m128i a[SIDE], b[SIDE];
    for (int r = 0; r < SIDE; r++) a[r] = _mm_loadu_si128((const __m128i *)(from + r * stride));
    for (int round = 0; round < 4; round++) {
        for (int r = 0; r < SIDE / 2; r++) {
            b[2 * r] = _mm_unpacklo_epi8(a[r], a[r + SIDE / 2]);
            b[2 * r + 1] = _mm_unpackhi_epi8(a[r], a[r + SIDE / 2]);
        }
        memcpy(a, b, sizeof a);
    }
    for (int r = 0; r < SIDE; r++) _mm_storeu_si128((__m128i *)(to + r * to_stride), a[r]);
}
#else
static void turn_tile(const uint8_t *from, Py_ssize_t stride, uint8_t *to, Py_ssize_t to_stride)
{
    for (int r = 0; r < SIDE; r++)
        for (int c = 0; c < SIDE; c++) to[c * to_stride + r] = from[r * stride + c];
}
#endif

/* to[c, r] = from[r, c] for a matrix of rows × columns. */
static void turn(const uint8_t *from, Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t stride, uint8_t *to,
                 Py_ssize_t to_stride)
{
    const Py_ssize_t whole_rows = rows - rows % SIDE, whole_columns = columns - columns % SIDE;
    for (Py_ssize_t c = 0; c < whole_columns; c += SIDE)
        for (Py_ssize_t r = 0; r < whole_rows; r += SIDE)
            turn_tile(from + r * stride + c, stride, to + c * to_stride + r, to_stride);
    for (Py_ssize_t r = 0; r < rows; r++)
        for (Py_ssize_t c = r < whole_rows ? whole_columns : 0; c < columns; c++)
            to[c * to_stride + r] = from[r * stride + c];
}

static PyObject *to_blocks(PyObject *module, PyObject *arguments)
{
    (void)module;
    Py_buffer codes, blocks;
    Py_ssize_t n, S;
    if (!PyArg_ParseTuple(arguments, "y*nnw*:to_blocks", &codes, &n, &S, &blocks)) return NULL;
    const Py_ssize_t count = (n + WIDTH - 1) / WIDTH;
    const int fits = n >= 0 && S >= 1 && codes.len >= n * S && blocks.len >= count * S * WIDTH;
    if (fits) {
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t b = 0; b < count; b++) {
            const Py_ssize_t videos = n - b * WIDTH < WIDTH ? n - b * WIDTH : WIDTH;
            uint8_t *block = (uint8_t *)blocks.buf + b * S * WIDTH;
            if (videos < WIDTH) memset(block, 0, (size_t)(S * WIDTH));
            turn((const uint8_t *)codes.buf + b * WIDTH * S, videos, S, S, block, WIDTH);
        }
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&codes), PyBuffer_Release(&blocks);
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "sizes do not fit the buffers");
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *from_blocks(PyObject *module, PyObject *arguments)
{
    (void)module;
    Py_buffer blocks, codes;
    Py_ssize_t first, n, S;
    if (!PyArg_ParseTuple(arguments, "y*nnnw*:from_blocks", &blocks, &first, &n, &S, &codes)) return NULL;
    const int fits = first >= 0 && n >= 0 && S >= 1 && codes.len >= n * S &&
                     blocks.len >= (first + n + WIDTH - 1) / WIDTH * S * WIDTH;
    if (fits) {
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t done = 0, videos; done < n; done += videos) {
            const Py_ssize_t at = (first + done) % WIDTH;
            videos = WIDTH - at < n - done ? WIDTH - at : n - done;
            turn((const uint8_t *)blocks.buf + (first + done) / WIDTH * S * WIDTH + at, S, videos, WIDTH,
                 (uint8_t *)codes.buf + done * S, S);
        }
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&blocks), PyBuffer_Release(&codes);
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "sizes do not fit the buffers");
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"to_blocks", to_blocks, METH_VARARGS,
     "to_blocks(codes, n, S, blocks)\n\nTurn codes [n, S] into blocks [ceil(n / 256), S, 256], padded with zeros."},
    {"from_blocks", from_blocks, METH_VARARGS,
     "from_blocks(blocks, first, n, S, codes)\n\nTurn `n` videos of blocks, from video `first` on, into codes [n, S]."},
    {NULL, NULL, 0, NULL},
};
static PyModuleDef_Slot slots[] = {{0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_transpose", "Orders of codes in C.", 0, methods, slots,
                                        NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__transpose(void) { return PyModuleDef_Init(&definition); }

/* A libcuda.so.1 for tests that really computes: device memory is host memory, the kernels are the product's own
 * text (preflight/gpu/kernels.cu) run on the CPU, and the device's clock is a model (bytes / bandwidth), so that
 * speeds are exact on any machine. Faults on request:
 *
 * PREFLIGHT_CUDA_FAKE_RC     "cuInit=100,cuLaunchKernel=719@5": answer this code (from the 5th call on)
 * PREFLIGHT_CUDA_FAKE_HANG   "cuCtxSynchronize@3,…": never come back      _SEGV: die of a wild pointer
 * PREFLIGHT_CUDA_FAKE_ONCE   a path: faults only in the first process that sees it missing (it creates it)
 * PREFLIGHT_CUDA_FAKE_ONLY   only the device of this number has faults (from its opening on)
 * PREFLIGHT_CUDA_FAKE_STUCK  "0xabcdef:0x10": these bits of this word of the card are stuck at 1 ("!0x10": at 0)
 * PREFLIGHT_CUDA_FAKE_FLIP   "3:0x1234:0x1": before the 3rd check these bits of that word flip, once
 * PREFLIGHT_CUDA_FAKE_WRONG  "always" or "once": a burn gives a wrong result
 * PREFLIGHT_CUDA_FAKE_COMPAT "1": error 804 while a folder named compat is in LD_LIBRARY_PATH
 * PREFLIGHT_CUDA_FAKE_CORRUPT "h2d" or "d2h": every large copy that way damages a byte
 * PREFLIGHT_CUDA_FAKE_SAID_TOTAL, _SAID_FREE: what cuMemGetInfo tells instead of the memory that there is
 * PREFLIGHT_CUDA_FAKE_SLOWING "0.8:0.1": each second of work leaves 0.8 of the speed, down to a tenth
 * PREFLIGHT_CUDA_FAKE_LONGEST a path: the device seconds of the longest launch so far
 * Numbers: …_TOTAL _FREE (bytes) _RESIDENT (bytes of the card beyond which memory is the host's: slow)
 *   _H2D _D2H _MEMORY _SPILLED (bytes a second) _COMPUTE (share of the peak) _CUDA _COUNT _CC _NAME _SM _KHZ
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define P "PREFLIGHT_CUDA_FAKE_"

static int faults = 1;

static const char *text(const char *variable, const char *otherwise) {
    const char *value = getenv(variable);
    return value && *value ? value : otherwise;
}
static double number(const char *variable, double otherwise) {
    const char *value = getenv(variable);
    return value && *value ? strtod(value, NULL) : otherwise;
}

/* What stands at "name" in a comma list: its code (0 without one) and the call it begins with; 0 when not listed. */
static int listed(const char *variable, const char *name, int *code, long *from) {
    const char *at = getenv(variable);
    size_t length = strlen(name);
    for (; at && *at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        char *end;
        if (strncmp(at, name, length)) continue;
        const char *rest = at + length;
        if (*rest && *rest != ',' && *rest != '=' && *rest != '@') continue;
        *code = 0;
        *from = 1;
        if (*rest == '=') { *code = (int)strtol(rest + 1, &end, 0); rest = end; }
        if (*rest == '@') *from = strtol(rest + 1, NULL, 0);
        return 1;
    }
    return 0;
}

static int fault(const char *name, long call) {
    int code;
    long from;
    if (!faults) return 0;
    if (listed(P "HANG", name, &code, &from) && call >= from) for (;;) pause();
    if (listed(P "SEGV", name, &code, &from) && call >= from) { volatile int *volatile wild = (int *)8; *wild = 1; }
    if (listed(P "RC", name, &code, &from) && call >= from) return code;
    return 0;
}
#define CALL(name) do { static long n_; int rc_ = fault(name, ++n_); if (rc_) return rc_; } while (0)

/* The kernels, on one "thread": they are grid-stride loops. */
typedef struct { uint32_t x, y, z, w; } quad;
#define KERNEL static void
#define DEVICE static inline __attribute__((always_inline))
#define FIRST 0u
#define STEP 1u
#define FMA(x, y, z) fmaf(x, y, z)
static inline uint32_t bits(float x) { uint32_t u; memcpy(&u, &x, 4); return u; }
#define BITS(x) bits(x)
#define ADD(p, v) (*(p) += (v))
#define MAX(p, v) (*(p) = *(p) > (v) ? *(p) : (v))
#define OR(p, v) (*(p) |= (v))
#include "kernels.cu"

/* The card's memory: one arena; an address is a host pointer. */
static uint8_t *arena;
static size_t total, free_limit;
#define BLOCKS 65536
static struct { size_t from, size; } block[BLOCKS]; /* sorted by from */
static int blocks;
static double now_s = 1.0; /* the device's own time */
static long checks;

__attribute__((constructor)) static void start(void) {
    const char *once = getenv(P "ONCE");
    if (once) {
        int fd = open(once, O_CREAT | O_EXCL | O_WRONLY, 0600);
        if (fd < 0) faults = 0;
        else close(fd);
    }
    total = (size_t)number(P "TOTAL", 32.0 * 1048576);
    free_limit = (size_t)number(P "FREE", (double)total - 8.0 * 1048576);
    arena = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

static uint32_t *card_word(const char *told, char **end) {
    uint64_t index = strtoull(told, end, 0);
    return index * 4 < total ? (uint32_t *)arena + index : NULL;
}

/* After every write: a stuck bit is stuck. */
static void stick(void) {
    const char *told = getenv(P "STUCK");
    if (!told || !faults) return;
    char *end;
    uint32_t *word = card_word(told, &end);
    if (!word || *end != ':') return;
    int low = end[1] == '!';
    uint32_t mask = (uint32_t)strtoul(end + 1 + low, NULL, 0);
    if (low) *word &= ~mask;
    else *word |= mask;
}

static void flip(void) {
    const char *told = getenv(P "FLIP");
    if (!told || !faults) return;
    char *end;
    if (strtol(told, &end, 0) != checks || *end != ':') return;
    uint32_t *word = card_word(end + 1, &end);
    if (word && *end == ':') *word ^= (uint32_t)strtoul(end + 1, NULL, 0);
}

/* A card that gets hotter the longer it works: its share of the full speed by now. */
static double share(void) {
    const char *told = getenv(P "SLOWING");
    char *end;
    if (!told || !faults) return 1.0;
    double each_s = strtod(told, &end), least = *end == ':' ? strtod(end + 1, NULL) : 0.0;
    double now = pow(each_s, now_s - 1.0);
    return now > least ? now : least;
}
static void note_launch(double took_s) {
    static double longest_s;
    const char *path = getenv(P "LONGEST");
    if (!path || took_s <= longest_s) return;
    longest_s = took_s;
    FILE *file = fopen(path, "w");
    if (file) fprintf(file, "%.6f\n", took_s), fclose(file);
}

static double memory_speed(const void *at) {
    size_t offset = (size_t)((const uint8_t *)at - arena);
    return offset >= (size_t)number(P "RESIDENT", 1e18) ? number(P "SPILLED", 12e9) : number(P "MEMORY", 360e9);
}

int cuInit(unsigned flags) {
    (void)flags;
    CALL("cuInit");
    return *text(P "COMPAT", "") && strstr(text("LD_LIBRARY_PATH", ""), "/compat") ? 804 : 0;
}
int cuDriverGetVersion(int *out) { CALL("cuDriverGetVersion"); *out = (int)number(P "CUDA", 12080); return 0; }
int cuDeviceGetCount(int *out) { CALL("cuDeviceGetCount"); *out = (int)number(P "COUNT", 1); return 0; }
int cuDeviceGet(int *out, int ordinal) {
    CALL("cuDeviceGet");
    if (ordinal >= (int)number(P "COUNT", 1)) return 101;
    if (getenv(P "ONLY") && ordinal != (int)number(P "ONLY", 0)) faults = 0;
    *out = ordinal;
    return 0;
}
int cuDeviceGetName(char *out, int size, int device) {
    (void)device;
    CALL("cuDeviceGetName");
    snprintf(out, (size_t)size, "%s", text(P "NAME", "NVIDIA GeForce RTX 3060"));
    return 0;
}
int cuDeviceGetAttribute(int *out, int attribute, int device) {
    int major = 8, minor = 6;
    (void)device;
    CALL("cuDeviceGetAttribute");
    sscanf(text(P "CC", "8.6"), "%d.%d", &major, &minor);
    switch (attribute) {
        case 13: *out = (int)number(P "KHZ", 100); return 0;
        case 16: *out = (int)number(P "SM", 1); return 0;
        case 18: *out = 0; return 0;
        case 32: *out = 0; return 0;
        case 36: *out = (int)number(P "MEMORY_KHZ", 7501000); return 0;
        case 37: *out = (int)number(P "BUS", 192); return 0;
        case 38: *out = 3145728; return 0;
        case 75: *out = major; return 0;
        case 76: *out = minor; return 0;
        default: return 1;
    }
}
int cuDevicePrimaryCtxRetain(void **out, int device) {
    (void)device;
    CALL("cuDevicePrimaryCtxRetain");
    *out = arena;
    return 0;
}
int cuCtxSetCurrent(void *context) { (void)context; CALL("cuCtxSetCurrent"); return 0; }
int cuCtxSynchronize(void) { CALL("cuCtxSynchronize"); return 0; }
int cuGetErrorName(int code, const char **out) {
    switch (code) {
        case 2: *out = "CUDA_ERROR_OUT_OF_MEMORY"; return 0;
        case 100: *out = "CUDA_ERROR_NO_DEVICE"; return 0;
        case 222: *out = "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"; return 0;
        case 719: *out = "CUDA_ERROR_LAUNCH_FAILED"; return 0;
        case 804: *out = "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE"; return 0;
        default: return 1;
    }
}

static size_t used(void) {
    size_t sum = 0;
    for (int i = 0; i < blocks; i++) sum += block[i].size;
    return sum;
}
int cuMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes) {
    CALL("cuMemGetInfo_v2");
    *free_bytes = (size_t)number(P "SAID_FREE", (double)(free_limit - used()));
    *total_bytes = (size_t)number(P "SAID_TOTAL", (double)total);
    return 0;
}
int cuMemAlloc_v2(uint64_t *out, size_t size) {
    CALL("cuMemAlloc_v2");
    size = (size + 511) & ~(size_t)511;
    if (!size || used() + size > free_limit || used() + size > (size_t)number(P "ALLOC_LIMIT", 1e18)) return 2;
    size_t from = 0;
    int i = 0;
    while (i < blocks && block[i].from - from < size) from = block[i].from + block[i].size, i++;
    if (blocks == BLOCKS || from + size > total) return 2;
    memmove(block + i + 1, block + i, (size_t)(blocks - i) * sizeof *block);
    block[i].from = from;
    block[i].size = size;
    blocks++;
    *out = (uint64_t)(uintptr_t)(arena + from);
    return 0;
}
int cuMemFree_v2(uint64_t address) {
    CALL("cuMemFree_v2");
    size_t from = (size_t)((uint8_t *)(uintptr_t)address - arena);
    for (int i = 0; i < blocks; i++)
        if (block[i].from == from) {
            memmove(block + i, block + i + 1, (size_t)(blocks - i - 1) * sizeof *block);
            blocks--;
            return 0;
        }
    return 1;
}
int cuMemHostAlloc(void **out, size_t size, unsigned flags) {
    (void)flags;
    CALL("cuMemHostAlloc");
    *out = malloc(size);
    return *out ? 0 : 2;
}
int cuMemFreeHost(void *p) { CALL("cuMemFreeHost"); free(p); return 0; }

static int corrupts(const char *way, size_t size) {
    return faults && size >= 1048576 && !strcmp(text(P "CORRUPT", ""), way);
}
int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t size, void *stream) {
    (void)stream;
    CALL("cuMemcpyHtoDAsync_v2");
    uint8_t *target = (uint8_t *)(uintptr_t)to;
    memcpy(target, from, size);
    if (corrupts("h2d", size)) target[size / 2] ^= 4;
    now_s += (double)size / number(P "H2D", 12e9);
    stick();
    return 0;
}
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t size, void *stream) {
    (void)stream;
    CALL("cuMemcpyDtoHAsync_v2");
    memcpy(to, (void *)(uintptr_t)from, size);
    if (corrupts("d2h", size)) ((uint8_t *)to)[size / 2] ^= 4;
    now_s += (double)size / number(P "D2H", 12e9);
    return 0;
}
int cuMemsetD32Async(uint64_t to, unsigned value, size_t count, void *stream) {
    uint32_t *word = (uint32_t *)(uintptr_t)to;
    (void)stream;
    CALL("cuMemsetD32Async");
    for (size_t i = 0; i < count; i++) word[i] = value;
    stick();
    return 0;
}

int cuEventCreate(void **out, unsigned flags) { (void)flags; CALL("cuEventCreate"); *out = calloc(1, sizeof(double)); return 0; }
int cuEventRecord(void *event, void *stream) { (void)stream; CALL("cuEventRecord"); *(double *)event = now_s; return 0; }
int cuEventSynchronize(void *event) { (void)event; CALL("cuEventSynchronize"); return 0; }
int cuEventElapsedTime(float *out, void *from, void *to) {
    CALL("cuEventElapsedTime");
    *out = (float)((*(double *)to - *(double *)from) * 1000.0);
    return 0;
}

int cuModuleLoadDataEx(void **out, const void *image, unsigned count, int *options, void **values) {
    CALL("cuModuleLoadDataEx");
    (void)count; (void)options; (void)values;
    if (!strstr(image, ".version 6.0") || !strstr(image, "preflight_burn")) return 218;
    *out = arena;
    return 0;
}
static const char *const NAMES[] = {"preflight_fill", "preflight_check", "preflight_burn"};
int cuModuleGetFunction(void **out, void *module, const char *name) {
    (void)module;
    CALL("cuModuleGetFunction");
    for (int i = 0; i < 3; i++)
        if (!strcmp(NAMES[i], name)) {
            *out = (void *)NAMES[i];
            return 0;
        }
    return 500;
}

static void run_burn(uint32_t *out, uint32_t threads, uint32_t iterations) {
    static int wrong_done;
    const char *wrong = text(P "WRONG", "");
    double peak = number(P "SM", 1) * 128 * number(P "KHZ", 100) * 1000.0 * 2;
    uint32_t distinct = threads < 8 ? threads : 8; /* the others compute the same: copied, the real card computes all */
    preflight_burn(out, distinct, iterations);
    for (uint32_t t = distinct; t < threads; t++) out[t] = out[t & 7];
    if (faults && (!strcmp(wrong, "always") || (!strcmp(wrong, "once") && !wrong_done))) {
        out[threads / 2] ^= 0x100;
        wrong_done = 1;
    }
    now_s += 16.0 * threads * iterations / (peak * number(P "COMPUTE", 0.9) * share());
}

int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *stream, void **p, void **extra) {
    CALL("cuLaunchKernel");
    (void)shared; (void)stream; (void)extra;
    if (!gx || gy != 1 || gz != 1 || !bx || bx > 1024 || by != 1 || bz != 1) return 1;
    uint8_t *memory = *(uint8_t **)p[0];
    if (memory < arena || memory >= arena + total) return 700;
    uint32_t n = *(uint32_t *)p[1];
#define W(i) (*(uint32_t *)p[i])
    double began_s = now_s;
    now_s += 5e-6;
    if (function == NAMES[2]) {
        run_burn((uint32_t *)memory, n, W(2));
    } else {
        if (memory + 16ull * n > arena + total) return 700;
        if (function == NAMES[0]) {
            preflight_fill((quad *)memory, n, W(2), W(3), W(4));
        } else {
            checks++;
            flip();
            preflight_check((quad *)memory, n, W(2), W(3), W(4), *(uint32_t **)p[5]);
        }
        now_s += 16.0 * n / (memory_speed(memory) * share());
    }
    note_launch(now_s - began_s);
    stick();
    return 0;
}

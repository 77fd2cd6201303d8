/* A libnvidia-ml.so.1 for tests: answers from the environment, and misbehaves on request.
 *
 * PREFLIGHT_NVML_FAKE_RC     "nvmlDeviceGetMemoryInfo=3,nvmlInitWithFlags=999": answer this code
 * PREFLIGHT_NVML_FAKE_HANG   "nvmlDeviceGetName,…": never come back
 * PREFLIGHT_NVML_FAKE_SEGV   "…": die of a wild pointer
 * PREFLIGHT_NVML_FAKE_NOISE  "…": print to stdout and stderr as vendor libraries do
 * PREFLIGHT_NVML_FAKE_ONCE   a path: faults only in the first process that sees it missing (it creates it)
 * PREFLIGHT_NVML_FAKE_LOST   index of a device that fell off the bus; with …_LOST_WHILE only while that path exists
 * The values: …_DRIVER _CUDA _COUNT _NAME _UUID _CC _TOTAL _FREE _TEMP _CLOCK _CLOCK_MAX _UTIL _THROTTLE _POWER
 *             _GEN _WIDTH _GEN_MAX _WIDTH_MAX
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define P "PREFLIGHT_NVML_FAKE_"
typedef void *device_t;
typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned gpu, memory; } utilization_t;

static int faults = 1;

__attribute__((constructor)) static void start(void) {
    const char *once = getenv(P "ONCE");
    if (!once) return;
    int fd = open(once, O_CREAT | O_EXCL | O_WRONLY, 0600);
    if (fd < 0) faults = 0;
    else close(fd);
}

/* The text after "name" (and "=") in a comma list, or NULL. */
static const char *listed(const char *variable, const char *name) {
    const char *at = getenv(variable);
    size_t length = strlen(name);
    while (at && *at) {
        if (!strncmp(at, name, length) && (at[length] == '=' || at[length] == ',' || !at[length]))
            return at[length] == '=' ? at + length + 1 : at + length;
        at = strchr(at, ',');
        if (at) at++;
    }
    return NULL;
}

static int fault(const char *name) {
    const char *rc;
    if (listed(P "NOISE", name)) {
        printf("{\"stage\": \"done\"} libnvidia says hello\n");
        fflush(stdout);
        fprintf(stderr, "libnvidia-ml: a warning\n");
    }
    if (!faults) return 0;
    if (listed(P "HANG", name)) for (;;) pause();
    if (listed(P "SEGV", name)) { volatile int *volatile wild = (int *)8; *wild = 1; }
    rc = listed(P "RC", name);
    return rc ? atoi(rc) : 0;
}

static const char *text(const char *variable, const char *otherwise) {
    const char *value = getenv(variable);
    return value ? value : otherwise;
}

static unsigned long long number(const char *variable, unsigned long long otherwise) {
    const char *value = getenv(variable);
    return value ? strtoull(value, NULL, 0) : otherwise;
}

#define FAULT(name) do { int rc_ = fault(name); if (rc_) return rc_; } while (0)
#define DEVICE(name, d) do { FAULT(name); const char *l_ = getenv(P "LOST"), *when_ = getenv(P "LOST_WHILE"); \
    if (l_ && faults && (!when_ || !access(when_, F_OK)) && (long)(d) - 1 == atol(l_)) return 15; } while (0)

int nvmlInitWithFlags(unsigned flags) { (void)flags; FAULT("nvmlInitWithFlags"); return 0; }
int nvmlInit_v2(void) { FAULT("nvmlInit_v2"); return 0; }
int nvmlShutdown(void) { FAULT("nvmlShutdown"); return 0; }
const char *nvmlErrorString(int code) {
    switch (code) {
        case 3: return "Not Supported";
        case 9: return "Driver Not Loaded";
        case 15: return "GPU is lost";
        default: return "Unknown Error";
    }
}
int nvmlSystemGetDriverVersion(char *out, unsigned size) {
    FAULT("nvmlSystemGetDriverVersion");
    snprintf(out, size, "%s", text(P "DRIVER", "570.86.15"));
    return 0;
}
int nvmlSystemGetCudaDriverVersion_v2(int *out) {
    FAULT("nvmlSystemGetCudaDriverVersion_v2");
    *out = (int)number(P "CUDA", 12080);
    return 0;
}
int nvmlSystemGetCudaDriverVersion(int *out) {
    FAULT("nvmlSystemGetCudaDriverVersion");
    *out = (int)number(P "CUDA", 12080);
    return 0;
}
int nvmlDeviceGetCount_v2(unsigned *out) {
    FAULT("nvmlDeviceGetCount_v2");
    *out = (unsigned)number(P "COUNT", 1);
    return 0;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, device_t *out) {
    if (index >= number(P "COUNT", 1)) return 2;
    DEVICE("nvmlDeviceGetHandleByIndex_v2", (long)index + 1);
    *out = (device_t)((long)index + 1);
    return 0;
}
int nvmlDeviceGetName(device_t d, char *out, unsigned size) {
    DEVICE("nvmlDeviceGetName", d);
    snprintf(out, size, "%s", text(P "NAME", "NVIDIA GeForce RTX 3060"));
    return 0;
}
int nvmlDeviceGetUUID(device_t d, char *out, unsigned size) {
    DEVICE("nvmlDeviceGetUUID", d);
    snprintf(out, size, "%s%02ld", text(P "UUID", "GPU-6a1b2c3d-0000-1111-2222-3344556677"), (long)d);
    return 0;
}
int nvmlDeviceGetMemoryInfo(device_t d, memory_t *out) {
    DEVICE("nvmlDeviceGetMemoryInfo", d);
    out->total = number(P "TOTAL", 12884901888ULL);
    out->free = number(P "FREE", 12000000000ULL);
    out->used = out->total - out->free;
    return 0;
}
int nvmlDeviceGetCudaComputeCapability(device_t d, int *major, int *minor) {
    DEVICE("nvmlDeviceGetCudaComputeCapability", d);
    sscanf(text(P "CC", "8.6"), "%d.%d", major, minor);
    return 0;
}
int nvmlDeviceGetTemperature(device_t d, int sensor, unsigned *out) {
    (void)sensor;
    DEVICE("nvmlDeviceGetTemperature", d);
    *out = (unsigned)number(P "TEMP", 45);
    return 0;
}
int nvmlDeviceGetUtilizationRates(device_t d, utilization_t *out) {
    DEVICE("nvmlDeviceGetUtilizationRates", d);
    out->gpu = (unsigned)number(P "UTIL", 3);
    out->memory = 1;
    return 0;
}
int nvmlDeviceGetComputeRunningProcesses_v3(device_t d, unsigned *count, void *out) {
    (void)out;
    DEVICE("nvmlDeviceGetComputeRunningProcesses_v3", d);
    *count = 0;
    return 0;
}

#define NUMBER(function, variable, otherwise) \
    int function(device_t d, unsigned *out) { \
        DEVICE(#function, d); *out = (unsigned)number(P variable, otherwise); return 0; }
NUMBER(nvmlDeviceGetPowerUsage, "POWER", 31000)
NUMBER(nvmlDeviceGetEnforcedPowerLimit, "POWER_LIMIT", 170000)
NUMBER(nvmlDeviceGetCurrPcieLinkGeneration, "GEN", 4)
NUMBER(nvmlDeviceGetMaxPcieLinkGeneration, "GEN_MAX", 4)
NUMBER(nvmlDeviceGetCurrPcieLinkWidth, "WIDTH", 16)
NUMBER(nvmlDeviceGetMaxPcieLinkWidth, "WIDTH_MAX", 16)

int nvmlDeviceGetClockInfo(device_t d, int type, unsigned *out) {
    DEVICE("nvmlDeviceGetClockInfo", d);
    *out = (unsigned)(type == 1 ? number(P "CLOCK", 210) : number(P "CLOCK_MEM", 405));
    return 0;
}
int nvmlDeviceGetMaxClockInfo(device_t d, int type, unsigned *out) {
    DEVICE("nvmlDeviceGetMaxClockInfo", d);
    *out = (unsigned)(type == 1 ? number(P "CLOCK_MAX", 2100) : number(P "CLOCK_MEM_MAX", 7501));
    return 0;
}
int nvmlDeviceGetCurrentClocksEventReasons(device_t d, unsigned long long *out) {
    DEVICE("nvmlDeviceGetCurrentClocksEventReasons", d);
    *out = number(P "THROTTLE", 1);
    return 0;
}
int nvmlDeviceGetCurrentClocksThrottleReasons(device_t d, unsigned long long *out) {
    DEVICE("nvmlDeviceGetCurrentClocksThrottleReasons", d);
    *out = number(P "THROTTLE", 1);
    return 0;
}
int nvmlDeviceGetTotalEccErrors(device_t d, int type, int counter, unsigned long long *out) {
    (void)type; (void)counter; (void)out;
    DEVICE("nvmlDeviceGetTotalEccErrors", d);
    return 3; /* every GeForce */
}

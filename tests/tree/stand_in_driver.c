/* A stand-in for CUDA's runtime and driver, so that torch's own allocator runs where no GPU is: it hands out addresses
   that rise, of memory that is not there, and says yes to all else that torch asks while it allocates. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY (80ULL << 30)
#define PAGE ((size_t)2 << 20)

static char *next = (char *)0x700000000000;

static int yes(void) { return 0; }

/* --- the runtime --- */
int cudaGetDeviceCount(int *count) { return *count = 1, 0; }
int cudaGetDevice(int *device) { return *device = 0, 0; }
int cudaSetDevice(int device) { return 0; }
int cudaGetLastError(void) { return 0; }
int cudaPeekAtLastError(void) { return 0; }
int cudaDriverGetVersion(int *version) { return *version = 13000, 0; }
int cudaDeviceCanAccessPeer(int *can, int one, int other) { return *can = 0, 0; }
int cudaDeviceGetStreamPriorityRange(int *least, int *most) { return *least = *most = 0, 0; }
int cudaStreamIsCapturing(void *stream, int *status) { return *status = 0, 0; }
int cudaStreamGetCaptureInfo(void *stream, int *status) { return *status = 0, 0; }
int cudaThreadExchangeStreamCaptureMode(int *mode) { return 0; }
int cudaDeviceSynchronize(void) { return 0; }
int cudaStreamSynchronize(void *stream) { return 0; }
int cudaMemGetInfo(size_t *unused, size_t *all) { return *unused = *all = MEMORY, 0; }
int cudaGetDeviceProperties(char *properties, int device) { /* of the struct: name, totalGlobalMem, major */
  const char *capability = getenv("STAND_IN_CAPABILITY");
  strcpy(properties, "stand-in");
  *(size_t *)(properties + 288) = MEMORY;
  *(int *)(properties + 360) = capability ? atoi(capability) : 8;
  return 0;
}
int cudaMalloc(void **address, size_t size) { return *address = next, next += (size + PAGE - 1) / PAGE * PAGE, 0; }
int cudaFree(void *address) { return 0; }

/* --- the driver, and what expandable segments ask of it --- */
int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) { return *flags = 0, *active = 1, 0; }
int cuMemAddressReserve(void **address, size_t size) { return *address = next, next += size + PAGE, 0; }
int cuMemCreate(unsigned long long *handle) { return *handle = 1, 0; }
int cudaGetDriverEntryPointByVersion(const char *name, void **function, unsigned v, unsigned long long f, int *found) {
  *function = (void *)yes;
  if (!strcmp(name, "cuMemAddressReserve")) *function = (void *)cuMemAddressReserve;
  if (!strcmp(name, "cuMemCreate")) *function = (void *)cuMemCreate;
  return *found = 0, 0;
}

/* --- NVML: no fabric of GPUs --- */
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetHandleByPciBusId_v2(const char *bus, void **device) { return *device = (void *)1, 0; }
int nvmlDeviceGetGpuFabricInfoV(void *device, void *info) { return 3; }
int nvmlDeviceGetNvLinkRemoteDeviceType(void) { return 3; }
int nvmlDeviceGetNvLinkRemotePciInfo_v2(void) { return 3; }
int nvmlDeviceGetComputeRunningProcesses(void) { return 3; }
int nvmlSystemGetCudaDriverVersion_v2(void) { return 3; }

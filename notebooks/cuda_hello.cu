// A first CUDA program: add two vectors on the GPU and check the sum on the CPU.
// Build and run:  nvcc -o cuda_hello cuda_hello.cu && ./cuda_hello
#include <cstdio>
#include <vector>
#include <cuda_runtime.h>

#define CHECK(call)                                                                            \
    do {                                                                                       \
        cudaError_t error = (call);                                                            \
        if (error != cudaSuccess) {                                                            \
            std::fprintf(stderr, "%s failed: %s\n", #call, cudaGetErrorString(error));         \
            return 1;                                                                          \
        }                                                                                      \
    } while (0)

__global__ void add(const float *a, const float *b, float *sum, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) {
        sum[i] = a[i] + b[i];
    }
}

int main() {
    const int n = 1 << 20;
    const size_t bytes = n * sizeof(float);
    cudaDeviceProp gpu;
    CHECK(cudaGetDeviceProperties(&gpu, 0));

    std::vector<float> a(n), b(n), sum(n);
    for (int i = 0; i < n; ++i) {
        a[i] = static_cast<float>(i % 1000);
        b[i] = 1.0f;
    }
    float *da, *db, *ds;
    CHECK(cudaMalloc(&da, bytes));
    CHECK(cudaMalloc(&db, bytes));
    CHECK(cudaMalloc(&ds, bytes));
    CHECK(cudaMemcpy(da, a.data(), bytes, cudaMemcpyHostToDevice));
    CHECK(cudaMemcpy(db, b.data(), bytes, cudaMemcpyHostToDevice));
    add<<<(n + 255) / 256, 256>>>(da, db, ds, n);
    CHECK(cudaGetLastError());
    CHECK(cudaMemcpy(sum.data(), ds, bytes, cudaMemcpyDeviceToHost));
    CHECK(cudaFree(da));
    CHECK(cudaFree(db));
    CHECK(cudaFree(ds));

    int wrong = 0;
    for (int i = 0; i < n; ++i) {
        wrong += sum[i] != a[i] + b[i];
    }
    std::printf("%s (compute capability %d.%d): %d of %d sums are right\n", gpu.name, gpu.major, gpu.minor, n - wrong, n);
    return wrong == 0 ? 0 : 1;
}

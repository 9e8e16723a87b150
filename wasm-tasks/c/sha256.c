// sha256 prints the SHA-256 of stdin as sha256sum does: the digest in hex, two spaces, a dash.
// Written from FIPS 180-4. Exits 1 when stdin cannot be read or stdout cannot be written.
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

// The first 32 bits of the fractional parts of the cube roots of the first 64 primes (FIPS 180-4, 4.2.2).
static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

typedef struct {
    uint32_t state[8];
    uint64_t length;    // bytes hashed so far
    uint8_t block[64];  // the first length % 64 bytes are waiting
} sha256;

static uint32_t rotr(uint32_t x, int n) { return x >> n | x << (32 - n); }

static void compress(sha256 *h, const uint8_t *p) {
    uint32_t w[64];
    for (int i = 0; i < 16; i++, p += 4)
        w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    for (int i = 16; i < 64; i++) {
        uint32_t s0 = rotr(w[i - 15], 7) ^ rotr(w[i - 15], 18) ^ w[i - 15] >> 3;
        uint32_t s1 = rotr(w[i - 2], 17) ^ rotr(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }

    uint32_t v[8];
    memcpy(v, h->state, sizeof v);
    for (int i = 0; i < 64; i++) {
        uint32_t a = v[0], b = v[1], c = v[2], e = v[4], f = v[5], g = v[6];
        uint32_t s1 = rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25);
        uint32_t t1 = v[7] + s1 + ((e & f) ^ (~e & g)) + K[i] + w[i];
        uint32_t s0 = rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22);
        uint32_t t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
        memmove(v + 1, v, 7 * sizeof *v);
        v[4] += t1;
        v[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++)
        h->state[i] += v[i];
}

static void update(sha256 *h, const uint8_t *p, size_t n) {
    size_t waiting = h->length % 64;
    h->length += n;
    if (waiting + n < 64) {
        memcpy(h->block + waiting, p, n);
        return;
    }
    if (waiting > 0) {
        size_t take = 64 - waiting;
        memcpy(h->block + waiting, p, take);
        compress(h, h->block);
        p += take;
        n -= take;
    }
    for (; n >= 64; p += 64, n -= 64)
        compress(h, p);
    memcpy(h->block, p, n);
}

static void finish(sha256 *h, uint8_t digest[32]) {
    uint64_t bits = h->length * 8;
    static const uint8_t padding[64] = {0x80};
    update(h, padding, 1 + (119 - h->length % 64) % 64);  // up to 56 modulo 64
    uint8_t tail[8];
    for (int i = 0; i < 8; i++)
        tail[i] = (uint8_t)(bits >> (56 - 8 * i));
    update(h, tail, sizeof tail);
    for (int i = 0; i < 32; i++)
        digest[i] = (uint8_t)(h->state[i / 4] >> (24 - 8 * (i % 4)));
}

int main(void) {
    sha256 h = {.state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                          0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};
    static uint8_t buffer[32768];
    for (;;) {
        ssize_t n = read(STDIN_FILENO, buffer, sizeof buffer);
        if (n < 0)
            return 1;
        if (n == 0)
            break;
        update(&h, buffer, (size_t)n);
    }

    uint8_t digest[32];
    finish(&h, digest);
    char line[68];
    for (int i = 0; i < 32; i++) {
        line[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        line[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    memcpy(line + 64, "  -\n", 4);
    for (size_t done = 0; done < sizeof line;) {
        ssize_t n = write(STDOUT_FILENO, line + done, sizeof line - done);
        if (n <= 0)
            return 1;
        done += (size_t)n;
    }
    return 0;
}

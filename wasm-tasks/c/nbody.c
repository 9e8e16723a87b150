// nbody moves the Sun and the four giant planets N steps of 0.01 days and prints the energy of the system
// before and after: nbody 1000. The orbits and starting values are those of the well-known n-body benchmark,
// so that the figures can be compared. Exits 2 when N is not a number.
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define PI 3.141592653589793
#define SOLAR_MASS (4 * PI * PI)
#define YEAR 365.24  // days
#define BODIES 5

// Position in astronomical units, velocity in units per year, mass in units of SOLAR_MASS.
typedef struct {
    double x[3], v[3], mass;
} body;

static body sky[BODIES] = {
    // Sun
    {{0, 0, 0}, {0, 0, 0}, SOLAR_MASS},
    // Jupiter
    {{4.84143144246472090e+00, -1.16032004402742839e+00, -1.03622044471123109e-01},
     {1.66007664274403694e-03 * YEAR, 7.69901118419740425e-03 * YEAR, -6.90460016972063023e-05 * YEAR},
     9.54791938424326609e-04 * SOLAR_MASS},
    // Saturn
    {{8.34336671824457987e+00, 4.12479856412430479e+00, -4.03523417114321381e-01},
     {-2.76742510726411899e-03 * YEAR, 4.99852801234917238e-03 * YEAR, 2.30417297573763929e-05 * YEAR},
     2.85885980666130812e-04 * SOLAR_MASS},
    // Uranus
    {{1.28943695621391310e+01, -1.51111514016986312e+01, -2.23307578892655734e-01},
     {2.96460137564761618e-03 * YEAR, 2.37847173959480950e-03 * YEAR, -2.96589568540237556e-05 * YEAR},
     4.36624404335156298e-05 * SOLAR_MASS},
    // Neptune
    {{1.53796971148509165e+01, -2.59193146099879641e+01, 1.79258772950371181e-01},
     {2.68067772490389322e-03 * YEAR, 1.62824170038242295e-03 * YEAR, -9.51592254519715870e-05 * YEAR},
     5.15138902046611451e-05 * SOLAR_MASS},
};

// rest gives the Sun the momentum that makes the whole system stand still.
static void rest(void) {
    for (int k = 0; k < 3; k++) {
        double momentum = 0;
        for (int i = 0; i < BODIES; i++)
            momentum += sky[i].v[k] * sky[i].mass;
        sky[0].v[k] = -momentum / SOLAR_MASS;
    }
}

static double distance2(const body *a, const body *b, double d[3]) {
    double sum = 0;
    for (int k = 0; k < 3; k++) {
        d[k] = a->x[k] - b->x[k];
        sum += d[k] * d[k];
    }
    return sum;
}

static double energy(void) {
    double e = 0, d[3];
    for (int i = 0; i < BODIES; i++) {
        const body *b = &sky[i];
        e += 0.5 * b->mass * (b->v[0] * b->v[0] + b->v[1] * b->v[1] + b->v[2] * b->v[2]);
        for (int j = i + 1; j < BODIES; j++)
            e -= b->mass * sky[j].mass / sqrt(distance2(b, &sky[j], d));
    }
    return e;
}

static void step(double dt) {
    for (int i = 0; i < BODIES; i++) {
        for (int j = i + 1; j < BODIES; j++) {
            body *a = &sky[i], *b = &sky[j];
            double d[3], r2 = distance2(a, b, d);
            double pull = dt / (r2 * sqrt(r2));
            for (int k = 0; k < 3; k++) {
                a->v[k] -= d[k] * b->mass * pull;
                b->v[k] += d[k] * a->mass * pull;
            }
        }
    }
    for (int i = 0; i < BODIES; i++)
        for (int k = 0; k < 3; k++)
            sky[i].x[k] += dt * sky[i].v[k];
}

int main(int argc, char **argv) {
    char *end = NULL;
    errno = 0;
    long steps = argc == 2 ? strtol(argv[1], &end, 10) : -1;
    if (steps < 0 || errno != 0 || end == argv[1] || *end != '\0') {
        fputs("usage: nbody STEPS\n", stderr);
        return 2;
    }

    rest();
    printf("%.9f\n", energy());
    for (long i = 0; i < steps; i++)
        step(0.01);
    printf("%.9f\n", energy());
    return fflush(stdout) == 0 ? 0 : 1;
}

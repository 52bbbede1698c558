/* The system as a simulated cluster sees it: chance from a seed, a monotonic clock that stands still, and a wall clock on
 * which nobody may rely. Preloaded into one process, it decides what Rust's hash maps, tokio's `select!` and chitchat's
 * choice of partners are seeded with, none of which take a seed as an argument. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>
#include <time.h>

static uint64_t state;
static int64_t readings;

__attribute__((constructor)) static void begin(void) {
    const char *seed = getenv("EVENKEEL_SIMULATION_SYSTEM");
    state = seed ? strtoull(seed, NULL, 0) : 0;
}

/* SplitMix64. */
static uint8_t byte(void) {
    uint64_t z = (state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (uint8_t)((z ^ (z >> 31)) >> 56);
}

ssize_t getrandom(void *into, size_t length, unsigned int flags) {
    (void)flags;
    for (size_t at = 0; at < length; at++)
        ((uint8_t *)into)[at] = byte();
    return (ssize_t)length;
}

int getentropy(void *into, size_t length) {
    getrandom(into, length, 0);
    return 0;
}

/* Virtual time is tokio's, counted from where this clock stands. The wall clock goes a day forth or an hour back with
 * every reading, where the environment says so: whatever it decides shows in the trace. */
int clock_gettime(clockid_t clock, struct timespec *now) {
    int64_t second = 1000000;
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) {
        second = 1800000000;
        if (getenv("EVENKEEL_SIMULATION_WALL_JUMPS"))
            second += readings++ % 2 ? readings * 86400 : -readings * 3600;
    }
    now->tv_sec = second;
    now->tv_nsec = 0;
    return 0;
}

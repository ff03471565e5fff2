/* Preloaded, it sets the time of day of a program by so many seconds as the file $CLOCK_AHEAD holds (a long, as in
   memory), at once when that changes. The monotonic clock is left alone, as by settimeofday(2). No headers: needs only
   a compiler. `cc -shared -fPIC -nostdlib -o clock.so clock.c` */

struct timespec { long seconds, nanoseconds; };
struct timeval { long seconds, microseconds; };

void *dlsym(void *, const char *);
char *getenv(const char *);
int open(const char *, int, ...);
void *mmap(void *, unsigned long, int, int, int, long);

static volatile long *ahead;

static void __attribute__((constructor)) attach(void)
{
    char *path = getenv("CLOCK_AHEAD");
    int file = path ? open(path, 0) : -1;
    volatile long *found = mmap(0, sizeof(long), 1 /* PROT_READ */, 1 /* MAP_SHARED */, file, 0);
    if (file >= 0 && found != (long *)-1)
        ahead = found;
}

int clock_gettime(int clock, struct timespec *now)
{
    static int (*next)(int, struct timespec *);
    if (!next)
        next = dlsym((void *)-1 /* RTLD_NEXT */, "clock_gettime");
    int failed = next(clock, now);
    if (!failed && ahead && (clock == 0 || clock == 5)) /* CLOCK_REALTIME, CLOCK_REALTIME_COARSE */
        now->seconds += *ahead;
    return failed;
}

int gettimeofday(struct timeval *now, void *zone)
{
    struct timespec precise;
    int failed = clock_gettime(0, &precise);
    now->seconds = precise.seconds;
    now->microseconds = precise.nanoseconds / 1000;
    return failed;
}

long time(long *also)
{
    struct timespec now;
    clock_gettime(0, &now);
    if (also)
        *also = now.seconds;
    return now.seconds;
}

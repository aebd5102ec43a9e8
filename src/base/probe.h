/*
** probe.h - places where tools of the system (bpftrace, perf, SystemTap) can look on: a nop each, and a note in the
** file that says where it is and where its arguments are. Only where sys/sdt.h was there when this was built.
*/
#ifndef ASY_PROBE_H
#define ASY_PROBE_H

#if defined(__has_include) && defined(__linux__) && !defined(ASY_NO_PROBES)
#if __has_include(<sys/sdt.h>)
#include <sys/sdt.h>
#define ASY_PROBE1(name, a) DTRACE_PROBE1(asyncio, name, a)
#define ASY_PROBE2(name, a, b) DTRACE_PROBE2(asyncio, name, a, b)
#endif
#endif

#if !defined(ASY_PROBE1)
#define ASY_PROBE1(name, a) ((void)0)
#define ASY_PROBE2(name, a, b) ((void)0)
#endif

#endif

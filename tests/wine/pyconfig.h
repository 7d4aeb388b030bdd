/* The part of CPython's PC/pyconfig.h that Python.h and cffi's generated code
 * read when they are compiled for 64-bit Windows.
 *
 * The cross-build has only the Python headers of the machine it runs on, and
 * the pyconfig.h beside those describes that machine: a different size of
 * long, no declspec. This file takes its place. It has to come by -include,
 * because Python.h finds the pyconfig.h in its own folder before any -I; the
 * guard is the one that file has, so that it then says nothing. */
#ifndef Py_PYCONFIG_H
#define Py_PYCONFIG_H

#define MS_WIN32
#define MS_WINDOWS
#define MS_WIN64
#define NT_THREADS
#define WITH_THREAD

/* Python's functions live in a DLL. */
#define HAVE_DECLSPEC_DLL
#define Py_ENABLE_SHARED

#define HAVE_WCHAR_H 1
#define HAVE_STDINT_H 1
#define HAVE_STDDEF_H 1
#define HAVE_SYS_TYPES_H 1
#define HAVE_SYS_STAT_H 1
#define HAVE_LONG_LONG 1

/* Windows is LLP64: long has four bytes, pointers have eight. */
#define SIZEOF_SHORT 2
#define SIZEOF_INT 4
#define SIZEOF_LONG 4
#define SIZEOF_LONG_LONG 8
#define SIZEOF_VOID_P 8
#define SIZEOF_SIZE_T 8
#define SIZEOF_TIME_T 8
#define SIZEOF_OFF_T 4
#define SIZEOF_WCHAR_T 2
#define SIZEOF_FLOAT 4
#define SIZEOF_DOUBLE 8
#define ALIGNOF_SIZE_T 8

#endif /* Py_PYCONFIG_H */

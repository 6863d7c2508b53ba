"""A filter of system calls for the worker and all its children: what no function that calculates has a use for.

It needs no rights and holds without namespaces too: no socket, no other program, no other process's memory, no memory
that the limits do not count, no namespace in which a process would have rights again, and less of the kernel in reach.
"""

import ctypes
import errno
import platform

# name: numbers on x86_64 and aarch64 (Linux uapi: unistd_64.h, asm-generic/unistd.h)
DENIED = {
    "socket": (41, 198),
    "execve": (59, 221),
    "execveat": (322, 281),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "unshare": (272, 97),
    "setns": (308, 268),
    "chroot": (161, 51),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "personality": (135, 92),
    "kexec_load": (246, 104),
    "init_module": (175, 105),
    "finit_module": (313, 273),
}
CLONE, CLONE3 = (56, 220), (435, 435)
NAMESPACES = 0x7E020000  # the CLONE_NEW… flags of clone
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column above, AUDIT_ARCH
X32 = 0x40000000  # numbers of the second interface of x86_64
LOAD, EQUAL, ANY_BIT, AT_LEAST, GIVE = 0x20, 0x15, 0x45, 0x35, 0x06  # of the filter's machine (linux/bpf_common.h)
NUMBER, MACHINE, FLAGS = 0, 4, 16  # where struct seccomp_data holds them
ALLOW, ERROR = 0x7FFF0000, 0x00050000
PR_SET_SECCOMP, MODE_FILTER = 22, 2


class Instruction(ctypes.Structure):
    """struct sock_filter"""

    _fields_ = (("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("k", ctypes.c_uint32))


class Filter(ctypes.Structure):
    """struct sock_fprog"""

    _fields_ = (("count", ctypes.c_uint16), ("first", ctypes.POINTER(Instruction)))


def instructions(machine: str) -> list[tuple[int, int, int, int]]:
    """(code, instructions to skip if so, if not, operand) of the filter."""
    column, arch = MACHINES[machine]
    deny = (GIVE, 0, 0, ERROR | errno.EPERM)
    made = [(LOAD, 0, 0, MACHINE), (EQUAL, 1, 0, arch), deny, (LOAD, 0, 0, NUMBER), (AT_LEAST, 0, 1, X32), deny]
    # "no such call": the C library then takes clone, whose flags can be looked at
    made += [(EQUAL, 0, 1, CLONE3[column]), (GIVE, 0, 0, ERROR | errno.ENOSYS)]
    for numbers in DENIED.values():
        made += [(EQUAL, 0, 1, numbers[column]), deny]
    made += [(EQUAL, 0, 3, CLONE[column]), (LOAD, 0, 0, FLAGS), (ANY_BIT, 0, 1, NAMESPACES), deny]
    return [*made, (GIVE, 0, 0, ALLOW)]


def install(libc: ctypes.CDLL) -> None:
    """For this process and all that come of it, for good. On other machines there are namespaces and limits only."""
    if (machine := platform.machine()) not in MACHINES:
        return
    made = instructions(machine)
    array = (Instruction * len(made))(*(Instruction(*one) for one in made))
    if libc.prctl(PR_SET_SECCOMP, MODE_FILTER, ctypes.byref(Filter(len(made), array)), 0, 0):
        raise OSError(ctypes.get_errno(), "the kernel takes no filter of system calls (seccomp)")

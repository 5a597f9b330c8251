/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * hold_registers (registers.h): the loop in the middle is where a stop finds the thread. Its counter is on
 * the stack, so that every register but the stack pointer carries a value of the test's.
 */
#define BELOW 128
#define X87 256
#define MASKS 320
#define FLAGS 384
#define VECTOR 392

#define SSE 0
#define AVX 1

#ifdef __x86_64__
#define VECTORS_SSE 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
#define VECTORS_AVX512 VECTORS_SSE,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
#define IN %rdi
#define OUT %rax
#else
#define VECTORS_SSE 0,1,2,3,4,5,6,7
#define VECTORS_AVX512 VECTORS_SSE
#define IN %edi
#define OUT %eax
#endif

/* KIND: the register that holds the kind of vectors. */
.macro load_vectors kind
        cmp $AVX, \kind
        je 2f
        ja 3f
        .irp n, VECTORS_SSE
        movdqu VECTOR + 64 * \n(IN), %xmm\n
        .endr
        jmp 4f
2:      .irp n, VECTORS_SSE
        vmovdqu VECTOR + 64 * \n(IN), %ymm\n
        .endr
        jmp 4f
3:      .irp n, VECTORS_AVX512
        vmovdqu64 VECTOR + 64 * \n(IN), %zmm\n
        .endr
        .irp n, 0,1,2,3,4,5,6,7
        kmovq MASKS + 8 * \n(IN), %k\n
        .endr
4:
.endm

.macro store_vectors kind
        cmp $AVX, \kind
        je 2f
        ja 3f
        .irp n, VECTORS_SSE
        movdqu %xmm\n, VECTOR + 64 * \n(OUT)
        .endr
        jmp 4f
2:      .irp n, VECTORS_SSE
        vmovdqu %ymm\n, VECTOR + 64 * \n(OUT)
        .endr
        vzeroupper
        jmp 4f
3:      .irp n, VECTORS_AVX512
        vmovdqu64 %zmm\n, VECTOR + 64 * \n(OUT)
        .endr
        .irp n, 0,1,2,3,4,5,6,7
        kmovq %k\n, MASKS + 8 * \n(OUT)
        .endr
        vzeroupper
4:
.endm

.macro load_x87
        .irp n, 0,1,2,3,4,5,6,7
        fldl X87 + 8 * \n(IN)
        .endr
.endm

.macro store_x87
        .irp n, 7,6,5,4,3,2,1,0
        fstpl X87 + 8 * \n(OUT)
        .endr
.endm

        .text
        .globl hold_registers
        .type hold_registers, @function
hold_registers:
        .cfi_startproc
#ifdef __x86_64__
        .irp r, rbx, rbp, r12, r13, r14, r15
        push %\r
        .cfi_adjust_cfa_offset 8
        .endr
        push %rcx               /* 16(%rsp): kind of vectors */
        .cfi_adjust_cfa_offset 8
        push %rsi               /*  8(%rsp): out */
        .cfi_adjust_cfa_offset 8
        push %rdx               /*   (%rsp): rounds */
        .cfi_adjust_cfa_offset 8
        load_vectors %ecx
        load_x87
        .irp n, 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16
        mov BELOW + 8 * (\n - 1)(%rdi), %rax
        mov %rax, -8 * \n(%rsp)
        .endr
        mov 0(%rdi), %rax
        mov 8(%rdi), %rbx
        mov 16(%rdi), %rcx
        mov 24(%rdi), %rdx
        mov 32(%rdi), %rsi
        mov 48(%rdi), %rbp
        mov 56(%rdi), %r8
        mov 64(%rdi), %r9
        mov 72(%rdi), %r10
        mov 80(%rdi), %r11
        mov 88(%rdi), %r12
        mov 96(%rdi), %r13
        mov 104(%rdi), %r14
        mov 112(%rdi), %r15
        mov 40(%rdi), %rdi
        stc                     /* decq leaves the carry flag alone */
held:   decq (%rsp)
        jnz held
        xchg %rax, 8(%rsp)      /* out; what rax held goes to its place */
        mov %rbx, 8(%rax)
        mov %rcx, 16(%rax)
        mov %rdx, 24(%rax)
        mov %rsi, 32(%rax)
        mov %rdi, 40(%rax)
        mov %rbp, 48(%rax)
        mov %r8, 56(%rax)
        mov %r9, 64(%rax)
        mov %r10, 72(%rax)
        mov %r11, 80(%rax)
        mov %r12, 88(%rax)
        mov %r13, 96(%rax)
        mov %r14, 104(%rax)
        mov %r15, 112(%rax)
        mov 8(%rsp), %rbx
        mov %rbx, 0(%rax)
        .irp n, 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16
        mov -8 * \n(%rsp), %rbx
        mov %rbx, BELOW + 8 * (\n - 1)(%rax)
        .endr
        pushf
        .cfi_adjust_cfa_offset 8
        pop FLAGS(%rax)
        .cfi_adjust_cfa_offset -8
        mov 16(%rsp), %ecx
        store_x87
        store_vectors %ecx
        add $24, %rsp
        .cfi_adjust_cfa_offset -24
        .irp r, r15, r14, r13, r12, rbp, rbx
        pop %\r
        .cfi_adjust_cfa_offset -8
        .endr
        ret
#else
        .irp r, ebx, ebp, esi, edi
        push %\r
        .cfi_adjust_cfa_offset 4
        .endr
        mov 20(%esp), %edi      /* in */
        mov 24(%esp), %eax      /* out */
        mov 28(%esp), %edx      /* rounds */
        mov 32(%esp), %ecx      /* kind of vectors */
        push %ecx               /* 8(%esp) */
        .cfi_adjust_cfa_offset 4
        push %eax               /* 4(%esp) */
        .cfi_adjust_cfa_offset 4
        push %edx               /*  (%esp) */
        .cfi_adjust_cfa_offset 4
        load_vectors %ecx
        load_x87
        mov 0(%edi), %eax
        mov 8(%edi), %ebx
        mov 16(%edi), %ecx
        mov 24(%edi), %edx
        mov 32(%edi), %esi
        mov 48(%edi), %ebp
        mov 40(%edi), %edi
        stc
held:   decl (%esp)
        jnz held
        xchg %eax, 4(%esp)
        mov %ebx, 8(%eax)
        mov %ecx, 16(%eax)
        mov %edx, 24(%eax)
        mov %esi, 32(%eax)
        mov %edi, 40(%eax)
        mov %ebp, 48(%eax)
        mov 4(%esp), %ebx
        mov %ebx, 0(%eax)
        pushf
        .cfi_adjust_cfa_offset 4
        pop FLAGS(%eax)
        .cfi_adjust_cfa_offset -4
        mov 8(%esp), %ecx
        store_x87
        store_vectors %ecx
        add $12, %esp
        .cfi_adjust_cfa_offset -12
        .irp r, edi, esi, ebp, ebx
        pop %\r
        .cfi_adjust_cfa_offset -4
        .endr
        ret
#endif
        .cfi_endproc
        .size hold_registers, . - hold_registers
        .section .note.GNU-stack, "", @progbits

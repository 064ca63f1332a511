// Start-up of the simulator board. The ELF file is loaded straight to its addresses, so nothing is
// copied and .bss is zero already.

// Sizes for link.ld and chip.ld.
#ifdef ESPGEN_L2_128
    .globl __l2_128
    .set __l2_128, 1
#endif
#ifdef ESPGEN_CORE0_STACK
    .globl __core0_stack_bytes
    .set __core0_stack_bytes, ESPGEN_CORE0_STACK
#endif
#ifdef ESPGEN_CORE1_STACK
    .globl __core1_stack_bytes
    .set __core1_stack_bytes, ESPGEN_CORE1_STACK
#endif

#ifdef ESPGEN_PIECE_START
// Where the chip's memory lies, for chip.ld: the piece of internal RAM for the larger arenas, the one for the
// others (start 0: behind the former), and what is left to the board (start of .bss 0: behind .data).
    .globl __piece_start, __piece_end, __piece2_start, __piece2_end, __board_start, __board_end, __board_bss
    .set __piece_start, ESPGEN_PIECE_START
    .set __piece_end, ESPGEN_PIECE_END
    .set __piece2_start, ESPGEN_PIECE2_START
    .set __piece2_end, ESPGEN_PIECE2_END
    .set __board_start, ESPGEN_BOARD_START
    .set __board_end, ESPGEN_BOARD_END
    .set __board_bss, ESPGEN_BOARD_BSS
#endif

    .option norelax
    .section .text.start, "ax", @progbits
    .globl _start
    .type _start, @function
_start:
    la sp, __stack_top
    call board_enable_units
    call board_run_constructors
    li a0, 0
    li a1, 0
    call main
    li t0, 0x5FFF0000           // exit register
    sw a0, 0(t0)
1:  j 1b
    .size _start, . - _start

// FPU on (mstatus.FS), PIE on (CSR 0x7f2), rounding mode of floats and flags cleared.
    .globl board_enable_units
    .type board_enable_units, @function
board_enable_units:
    li t0, 0x2000
    csrs mstatus, t0
    csrsi 0x7f2, 1
    csrw fcsr, zero
    ret
    .size board_enable_units, . - board_enable_units

    .type board_run_constructors, @function
board_run_constructors:
    addi sp, sp, -16
    sw ra, 12(sp)
    sw s0, 8(sp)
    sw s1, 4(sp)
    la s0, __init_array_start
    la s1, __init_array_end
1:  beq s0, s1, 2f
    lw t0, 0(s0)
    addi s0, s0, 4
    jalr t0
    j 1b
2:  lw ra, 12(sp)
    lw s0, 8(sp)
    lw s1, 4(sp)
    addi sp, sp, 16
    ret
    .size board_run_constructors, . - board_run_constructors

// Core 1 arrives here with its stack pointer set; function and argument lie in board_core1_call.
    .globl _start_core1
    .type _start_core1, @function
_start_core1:
    call board_enable_units
    la t0, board_core1_call
    lw t1, 0(t0)
    lw a0, 4(t0)
    jalr t1
    li t0, 0x5FFF0000
    sw zero, 0x68(t0)           // parks this core
1:  j 1b
    .size _start_core1, . - _start_core1

// void p4sim::StartCore1(void (*function)(void*), void* argument)
    .globl _ZN5p4sim10StartCore1EPFvPvES0_
    .type _ZN5p4sim10StartCore1EPFvPvES0_, @function
_ZN5p4sim10StartCore1EPFvPvES0_:
    la t0, board_core1_call
    sw a0, 0(t0)
    sw a1, 4(t0)
    li t1, 0x5FFF0000
    la t0, _start_core1
    sw t0, 0x60(t1)
    la t0, __stack1_top
    sw t0, 0x64(t1)
    li t0, 1
    sw t0, 0x68(t1)
    ret
    .size _ZN5p4sim10StartCore1EPFvPvES0_, . - _ZN5p4sim10StartCore1EPFvPvES0_

// void p4sim::StartTask(void (*function)(void*), void* argument, void* stack_top)
    .globl _ZN5p4sim9StartTaskEPFvPvES0_S0_
    .type _ZN5p4sim9StartTaskEPFvPvES0_S0_, @function
_ZN5p4sim9StartTaskEPFvPvES0_S0_:
    li t1, 0x5FFF0000
    sw a0, 0xC0(t1)
    andi a2, a2, -16
    sw a2, 0xC4(t1)
    la t0, 1f
    sw t0, 0xC8(t1)
    sw a1, 0xCC(t1)
    ret
1:  li t0, 0x5FFF0000
    sw zero, 0xD4(t0)           // ends this task
2:  j 2b
    .size _ZN5p4sim9StartTaskEPFvPvES0_S0_, . - _ZN5p4sim9StartTaskEPFvPvES0_S0_

    .section .bss.board_core1_call, "aw", @nobits
    .balign 8
board_core1_call:
    .zero 8

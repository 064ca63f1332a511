// Walks through memory and through code, in one line of the instruction cache each.
// (a0 = steps, at least 1; a1 = base; a2 = stride; a3 = limit): offsets 0, stride, .. below limit, and again.
    .option norvc
    .option norelax
    .text

// Each address waits for the load before, so that no load runs beside another.
    .globl calibrate_walk_read
    .type calibrate_walk_read, @function
    .balign 64
calibrate_walk_read:
    li t0, 0
1:  add t1, a1, t0
    lw t2, 0(t1)
    and t2, t2, zero
    add t0, t0, a2
    add t0, t0, t2
    sltu t3, t0, a3
    neg t3, t3
    and t0, t0, t3
    addi a0, a0, -1
    bnez a0, 1b
    ret
    .size calibrate_walk_read, . - calibrate_walk_read

    .globl calibrate_walk_write
    .type calibrate_walk_write, @function
    .balign 64
calibrate_walk_write:
    li t0, 0
1:  add t1, a1, t0
    sw zero, 0(t1)
    nop
    add t0, t0, a2
    nop
    sltu t3, t0, a3
    neg t3, t3
    and t0, t0, t3
    addi a0, a0, -1
    bnez a0, 1b
    ret
    .size calibrate_walk_write, . - calibrate_walk_write

// Base is calibrate_sled: every line of it jumps on by the stride.
    .globl calibrate_walk_jump
    .type calibrate_walk_jump, @function
    .balign 64
calibrate_walk_jump:
    li t0, 0
    jr a1
    .size calibrate_walk_jump, . - calibrate_walk_jump

    .globl calibrate_sled, calibrate_sled_end
    .balign 128
calibrate_sled:
    .rept 2176
    .balign 64
    addi a0, a0, -1
    beqz a0, 1f
    add t0, t0, a2
    sltu t3, t0, a3
    neg t3, t3
    and t0, t0, t3
    add t1, a1, t0
    jr t1
1:  ret
    .endr
    .balign 64
calibrate_sled_end:

    .section .rodata
    .balign 64
    .global toy_weights
toy_weights:
    .incbin "weights.bin"

#if defined(__linux__) && defined(__ELF__)
    .section .note.GNU-stack, "", %progbits
#endif

; The witness guest: a boot sector that ticks. nasm -f bin tick.asm -o tick.bin
;
; Every second tick of the BIOS clock (110 ms), halting between, it does this:
;   1  read the head (sector 1),
;   2  somebody else wrote since my last tick? count it,
;   3  write the next entry into the ring (sector 2 + seq mod 32768) and into the head,
;   4  say a line on the serial port.
; An entry (little endian; 'state' is the part that lives in memory alone and so proves that memory survived):
;   0  "VMHATICK"
;   8  seq      u64  ticks of this disk
;  16  nonce    u64  state: drawn at boot (clock, time stamp counter)
;  24  tick     u64  state: ticks of this boot
;  32  foreign  u32  state: heads found that I had not written
;  36  boots    u32  boots of this disk
;  40  clock    u32  bytes 0, seconds, minutes, hours in BCD
; A failed read or write is tried again for ever: giving up would leave head and memory apart, which reads as a double.
; Serial line: tick(8) nonce(16) seq(8) foreign(4), hexadecimal.
; Serial commands: Q power off, R reset, P panic, H hang, D dirty 512 KiB per tick (on, off), W pet the ib700 watchdog:
; 2 s later it fires. ACPI power button: power off.

        org     0x7c00
        bits    16

RING_MASK equ   0x7fff
ENTRY   equ     0x8000                  ; one sector: the head as read, then as written
STATE   equ     0x7e00
NONCE   equ     0
TICK    equ     8
FOREIGN equ     16
DRIVE   equ     20
DIRTY   equ     21
COM1    equ     0x3f8
PM1A    equ     0x600                   ; status; enable is +2, control is +4
CLOCK   equ     0x46c                   ; BIOS tick counter, 18.2 a second

start:  jmp     0:.here
.here:  xor     ax, ax
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     sp, 0x7c00
        sti
        cld
        mov     bp, STATE
        mov     di, bp
        mov     cl, 24 / 2
        xor     ch, ch
        rep stosw
        mov     [bp + DRIVE], dl
        mov     dx, PM1A + 2
        mov     ax, 0x100               ; let the power button set its status bit
        out     dx, ax
        call    clock
        mov     [bp + NONCE + 4], ebx
        rdtsc
        mov     [bp + NONCE], eax

tick:   mov     di, [CLOCK]             ; when this tick began; kept on the stack
        push    di
        mov     ah, 0x42
        call    head
        cmp     dword [ENTRY], 'VMHA'
        je      .compare
        mov     di, ENTRY               ; a fresh disk
        xor     ax, ax
        mov     cx, 256
        rep stosw
        mov     dword [ENTRY], 'VMHA'
        mov     dword [ENTRY + 4], 'TICK'
.compare:
        mov     si, bp                  ; nonce and tick as I wrote them last? A clone has my nonce: the tick must match
        mov     di, ENTRY + 16
        mov     cx, 8
        repe cmpsw
        je      .mine
        cmp     dword [bp + TICK], 0
        jne     .foreign
        inc     dword [ENTRY + 36]      ; my first tick: one more boot
        jmp     .mine
.foreign:
        inc     dword [bp + FOREIGN]
.mine:  add     dword [bp + TICK], 1
        adc     dword [bp + TICK + 4], 0
        add     dword [ENTRY + 8], 1
        adc     dword [ENTRY + 12], 0
        mov     si, bp
        mov     di, ENTRY + 16
        mov     cx, 10
        rep movsw                       ; nonce, tick, foreign
        call    clock
        mov     [ENTRY + 40], ebx
        mov     eax, [ENTRY + 8]
        and     eax, RING_MASK
        inc     eax
        inc     eax
        mov     [sector], eax
        mov     ah, 0x43
        call    transfer
        mov     ah, 0x43
        call    head

        mov     eax, [bp + TICK]
        call    hex8
        mov     al, ' '
        call    put
        mov     eax, [bp + NONCE + 4]
        call    hex8
        mov     eax, [bp + NONCE]
        call    hex8
        mov     al, ' '
        call    put
        mov     eax, [ENTRY + 8]
        call    hex8
        mov     al, ' '
        call    put
        mov     eax, [bp + FOREIGN]
        shl     eax, 16
        mov     cl, 4
        call    hex
        mov     al, 13
        call    put
        mov     al, 10
        call    put

        test    byte [bp + DIRTY], 1
        jz      .command
        mov     ax, 0x1000              ; one word in each page of 64 to 576 KiB
.page:  mov     fs, ax
        mov     bx, [bp + TICK]
        mov     [fs:16], bx
        add     ax, 0x100
        cmp     ax, 0x9000
        jb      .page
.command:
        mov     dx, COM1 + 5
        in      al, dx
        test    al, 1
        jz      .button
        mov     dl, COM1 & 0xff
        in      al, dx
        cmp     al, 'Q'
        je      off
        cmp     al, 'D'
        jne     .reset
        xor     byte [bp + DIRTY], 1
.reset: cmp     al, 'R'
        jne     .panic
        mov     al, 0xfe                ; by the keyboard controller
        out     0x64, al
.panic: cmp     al, 'P'
        jne     .hang
        mov     dx, 0x505               ; pvpanic
        mov     al, 1
        out     dx, al
.hang:  cmp     al, 'H'
        jne     .pet
        cli
        hlt
.pet:   cmp     al, 'W'
        jne     .button
        mov     dx, 0x443
        mov     al, 14
        out     dx, al
.button:
        mov     dx, PM1A
        in      ax, dx
        test    ah, 1
        jnz     off
        pop     di
.sleep: hlt
        mov     ax, [CLOCK]
        sub     ax, di
        cmp     ax, 2
        jb      .sleep
        jmp     tick

off:    mov     dx, PM1A + 4
        mov     ax, 0x2000              ; S5
        out     dx, ax
        hlt
        jmp     off

clock:  mov     ah, 2                   ; ebx = hh mm ss 00
        int     0x1a
        mov     bx, cx
        shl     ebx, 16
        mov     bx, dx
        xor     bl, bl
        ret

head:   mov     dword [sector], 1
transfer:                               ; ah: 0x42 read, 0x43 write; again until it succeeds
        mov     al, 0
.again: push    ax
        mov     si, packet
        mov     dl, [bp + DRIVE]
        int     0x13
        pop     ax
        jc      .again
        ret

hex8:   mov     cl, 8
hex:    rol     eax, 4                  ; the upper cl digits of eax
        push    eax
        and     al, 15
        cmp     al, 10
        sbb     al, 0x69
        das
        call    put
        pop     eax
        dec     cl
        jnz     hex
        ret

put:    push    ax
        mov     dx, COM1 + 5
.full:  in      al, dx
        test    al, 0x20
        jz      .full
        pop     ax
        mov     dl, COM1 & 0xff
        out     dx, al
        ret

packet: db      16, 0
        dw      1, ENTRY, 0
sector: dq      0

        times   510 - ($ - $$) db 0
        dw      0xaa55

// SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
// SPDX-License-Identifier: GPL-3.0-or-later

// 2,000 goroutines that ask a C library.
//
//	load    each asks ten times: "20000 answers, SUM too much"
package main

// int answer(int);
import "C"

import (
	"bufio"
	"fmt"
	"os"
)

const goroutines, times = 2000, 10

// ask answers each line of the test with ten calls of C, on a stack that grows and shrinks meanwhile.
func ask(number int, rounds <-chan bool, sums chan<- int) {
	for range rounds {
		sum := 0
		for i := 0; i < times; i++ {
			sum += deep(number+i, 20) - (3*(number+i) + 1)
		}
		sums <- sum
	}
}

//go:noinline
func deep(number int, depth int) int {
	var room [64]byte
	room[depth] = byte(number)
	if depth == 0 {
		return int(C.answer(C.int(number)))
	}
	return deep(number, depth-1) + int(room[depth]-byte(number))
}

func main() {
	rounds, sums := make(chan bool), make(chan int)
	for i := 0; i < goroutines; i++ {
		go ask(i, rounds, sums)
	}
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		go func() {
			for i := 0; i < goroutines; i++ {
				rounds <- true
			}
		}()
		sum := 0
		for i := 0; i < goroutines; i++ {
			sum += <-sums
		}
		fmt.Printf("%d answers, %d too much\n", goroutines*times, sum)
	}
}

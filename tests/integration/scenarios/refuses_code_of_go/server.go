// SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
// SPDX-License-Identifier: GPL-3.0-or-later

// A static server with 2,000 goroutines: one for each end of 1,000 connections to itself.
//
//	load    every connection asks and checks an answer: "2000 goroutines, 0 wrong"
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
)

const connections = 1000

//go:noinline
func answer(number uint32) uint32 {
	if number%2 == 0 {
		return number / 2
	}
	return 3*number + 1
}

// serve answers numbers on one connection, on a stack that grows and shrinks as it goes.
func serve(connection net.Conn) {
	buffer := make([]byte, 4)
	for {
		if _, err := io.ReadFull(connection, buffer); err != nil {
			return
		}
		binary.LittleEndian.PutUint32(buffer, deep(answer(binary.LittleEndian.Uint32(buffer)), 50))
		if _, err := connection.Write(buffer); err != nil {
			return
		}
	}
}

//go:noinline
func deep(number uint32, depth int) uint32 {
	var room [64]byte
	room[depth] = byte(number)
	if depth == 0 {
		return number
	}
	return deep(number, depth-1) + uint32(room[depth]-byte(number))
}

// ask keeps a connection busy: one number for each round, what came back is compared.
func ask(address string, rounds <-chan uint32, wrong chan<- int) {
	connection, err := net.Dial("tcp", address)
	if err != nil {
		panic(err)
	}
	buffer := make([]byte, 4)
	wrong <- 0 // connected
	for number := range rounds {
		binary.LittleEndian.PutUint32(buffer, number)
		if _, err := connection.Write(buffer); err != nil {
			panic(err)
		}
		if _, err := io.ReadFull(connection, buffer); err != nil {
			panic(err)
		}
		if binary.LittleEndian.Uint32(buffer) == answer(number) {
			wrong <- 0
		} else {
			wrong <- 1
		}
	}
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				panic(err)
			}
			go serve(connection)
		}
	}()
	rounds, wrong := make(chan uint32), make(chan int)
	for i := 0; i < connections; i++ {
		go ask(listener.Addr().String(), rounds, wrong)
		<-wrong
	}
	fmt.Println("ready")
	number := uint32(1)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		sum := 0
		for round := 0; round < 5; round++ {
			go func(first uint32) {
				for i := uint32(0); i < connections; i++ {
					rounds <- first + i
				}
			}(number)
			for i := 0; i < connections; i++ {
				sum += <-wrong
			}
			number += connections
		}
		fmt.Printf("%d goroutines, %d wrong\n", 2*connections, sum)
	}
}

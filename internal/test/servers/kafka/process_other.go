// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package kafka

import "syscall"

func endWithParent() *syscall.SysProcAttr { return nil }

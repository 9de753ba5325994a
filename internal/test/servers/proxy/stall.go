// SPDX-License-Identifier: Apache-2.0

package proxy

import "github.com/Shopify/toxiproxy/v2/toxics"

func init() { toxics.Register("stall", new(stall)) }

// stall holds back everything until it is removed. toxiproxy's own "timeout"
// loses what comes meanwhile, and ends the connection.
type stall struct{}

func (*stall) Pipe(stub *toxics.ToxicStub) {
	select {
	case <-stub.Interrupt:
	case held := <-stub.Input:
		if held == nil { // the connection has ended
			stub.Close()
			return
		}
		<-stub.Interrupt
		stub.Output <- held
	}
}

package opid

import (
	"context"
	"testing"
)

func TestNames(t *testing.T) {
	ctx := With(t.Context(), ID{'f', 71})
	if id, ok := Of(ctx); !ok || id.String() != "f1z" {
		t.Errorf("%v %v", id, ok)
	}
	own, cancel := context.WithCancel(context.Background())
	defer cancel()
	carried := Carry(own, ctx)
	if id, ok := Of(carried); !ok || id != (ID{'f', 71}) {
		t.Errorf("%v %v", id, ok)
	}
	cancel()
	if carried.Err() == nil || ctx.Err() != nil {
		t.Error("a context that carries a name ends with its own, and with no other")
	}
	if Carry(own, t.Context()) != own {
		t.Error("there was nothing to carry")
	}
	if id, ok := Of(context.WithValue(t.Context(), Key{}, ID{})); ok {
		t.Errorf("%v is no name", id)
	}
}

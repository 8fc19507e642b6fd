// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package fleet

// This file holds what the observer knows of rolls and of slots that come and go.

func (o *observer) rollBegins(now Time, ev RollOut) {
	if o.rolling() || !o.runs() {
		return
	}
	o.epochs++
	o.row = 0
	o.roll = seenRoll{reason: ev.Reason, slots: ev.Slots, target: o.epochs, workers: o.c.Workers, before: o.c}
	if ev.Config != nil {
		before := o.c.Workers
		o.c = ev.Config.sane()
		o.roll.workers = o.c.Workers
		o.c.Workers = max(o.c.Workers, before)
		o.widen(now, before)
	}
	for i := range o.slots {
		if o.rolls(i) {
			o.startAfresh(now, i, func(*seen) bool { return true })
		}
	}
}

// startAfresh makes a slot due, and those of its workers that start make room if they are to.
func (o *observer) startAfresh(now Time, i int, makesRoom func(*seen) bool) {
	slot := &o.slots[i]
	slot.failures, slot.notBefore, slot.notAfter = 0, now, now
	for j := range slot.workers {
		if w := &slot.workers[j]; w.starts() && makesRoom(w) {
			o.want(now, w, o.roll.reason)
		}
	}
}

func (o *observer) rollFails(now Time, last ID) {
	if o.roll.proven {
		o.epoch = o.roll.target
	} else {
		o.c = o.roll.before
		o.retire(now)
	}
	for i := range o.slots {
		if o.rolls(i) {
			o.startAfresh(now, i, func(w *seen) bool {
				return w.epoch == o.roll.target && (!o.roll.proven || o.slots[i].count((*seen).serves) > 0)
			})
		}
	}
	o.roll, o.mustEnd = seenRoll{}, &RollEnded{Result: Failed, Epoch: o.epoch, Last: last}
}

// rollLacks returns what a roll still needs: new workers that were ready, old ones gone, or nothing.
func (o *observer) rollLacks() (ready, gone bool) {
	for i := range o.slots {
		if o.rolls(i) {
			ready = ready || o.slots[i].epoch < o.roll.target
			gone = gone || o.slots[i].count(func(w *seen) bool { return w.epoch < o.roll.target }) > 0
		}
	}
	return ready, gone
}

// rollShrinks gives up the slots that the new rules do not have, once all others are replaced.
func (o *observer) rollShrinks(now Time) {
	if ready, gone := o.rollLacks(); o.rolling() && !ready && !gone && o.c.Workers > o.roll.workers {
		o.c.Workers = o.roll.workers
		o.retire(now)
	}
}

// rollIsDone tells whether nothing is missing any more.
func (o *observer) rollIsDone() bool {
	ready, gone := o.rollLacks()
	for i := o.c.Workers; i < len(o.slots); i++ {
		gone = gone || len(o.slots[i].workers) > 0
	}
	return o.rolling() && !ready && !gone && o.c.Workers <= o.roll.workers
}

func (o *observer) scale(now Time, workers int) {
	if o.stopping {
		return
	}
	before := o.c.Workers
	o.c.Workers = max(workers, 0)
	if o.rolling() {
		o.roll.workers, o.roll.before.Workers = o.c.Workers, o.c.Workers
	}
	o.widen(now, before)
	o.retire(now)
}

// widen makes slots, or takes retired ones up again: they are due from now on, if nothing keeps them waiting.
func (o *observer) widen(now Time, before int) {
	for len(o.slots) < o.c.Workers {
		o.slots = append(o.slots, seenSlot{})
	}
	for i := before; i < o.c.Workers; i++ {
		o.slots[i].notBefore, o.slots[i].notAfter = max(now, o.slots[i].notBefore), max(now, o.slots[i].notAfter)
	}
}

func (o *observer) retire(now Time) {
	for i := o.c.Workers; i < len(o.slots); i++ {
		for j := range o.slots[i].workers {
			o.want(now, &o.slots[i].workers[j], ReasonScale)
		}
	}
}

// Package synctestrace makes tests in bubbles of testing/synctest fit for the race detector. Tests import it for its effect.
//
// The detector's state of a bubble's timers is used without a lock by every goroutine of the bubble that reads the channel of an
// expired timer (golang/go#78156). When two processors do so at once the process ends with "ThreadSanitizer: CHECK failed". So
// under the race detector there is one processor for goroutines; races are found by the order of events all the same.
package synctestrace

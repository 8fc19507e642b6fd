// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package e2e

// Proves: root with the capabilities that Docker leaves it measures workers of another user, and they notice nothing of
// it; and what may not be read is null with a reason that says what to do, while the fleet serves and the rest stands.

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/preforkd/preforkd/supervisor"
)

// contained is a command in front of preforkd that leaves root what Docker leaves it: not CAP_SYS_PTRACE.
func contained(t *testing.T) []string {
	return []string{
		tool(t, "setpriv"), "--inh-caps=-all", "--bounding-set=-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid," +
			"+setuid,+setpcap,+net_bind_service,+net_raw,+sys_chroot,+mknod,+audit_write,+setfcap",
	}
}

// hiding is a command in front of preforkd that mounts /proc anew for it, with hidepid=2.
func hiding(t *testing.T) []string {
	through := []string{
		tool(t, "unshare"), "-m", "sh", "-c", `mount -t proc -o hidepid=2,gid=12345 proc /proc && exec "$@"`, "sh",
	}
	if out, err := exec.Command(through[0], append(through[1:], "true")...).CombinedOutput(); err != nil {
		t.Skipf("cannot mount /proc with hidepid=2 (Linux 5.8): %v %s", err, out)
	}
	return through
}

// reads maps the data by descriptor and reads all of it.
const reads = `
import mmap, os, time
data = mmap.mmap(int(os.environ["PREFORKD_DATA_BLOB_FD"]), 0, prot=mmap.PROT_READ)
sum(data[::4096])
`

const readSize = 8 * mib

func measured(t *testing.T, through []string, flags []string, command ...string) *fleet {
	t.Helper()
	path, _ := blob(t, readSize)
	return start(t, spec{
		through: through,
		flags:   append([]string{"-w", "2", "-d", "blob=" + path, "--ready", "alive:1s"}, flags...),
		command: command,
	})
}

func whole(t *testing.T, s *supervisor.Snapshot) {
	t.Helper()
	for _, w := range ready(s) {
		if w.Sample.Error != "" || w.RSS == nil || w.PSS == nil || w.USS == nil || w.Private == nil || w.FDs == nil ||
			*w.FDs < 3 || w.Data[0].PSS == nil || *w.Data[0].RSS != readSize {
			t.Errorf("worker %d: %+v", w.ID, w)
		}
	}
	if m := s.Memory; m.Used == nil || m.Saved == nil || m.SavedRatio == nil || m.Copies == nil || m.COW == nil {
		t.Errorf("memory: %+v", m)
	}
}

// As in a container: preforkd is root without CAP_SYS_PTRACE, the workers are not. It sees them serve all the same.
func TestRootWithoutPtraceSeesWorkersOfAnotherUserServe(t *testing.T) {
	asRoot(t)
	for name, serve := range map[string]string{
		"accept": "while True: listener.accept()[0].close()",
		"epoll":  "import select, time\np = select.epoll()\np.register(listener, select.EPOLLIN)\nwhile True: p.poll()",
	} {
		f := start(t, spec{
			through: contained(t),
			flags:   []string{"-w", "2", "-l", "127.0.0.1:0", "--user", "nobody", "--start-timeout", "20s"},
			command: []string{
				python(t, &syscall.Credential{Uid: 65534, Gid: 65534}), "-c", "import socket\nlistener = socket.socket(fileno=3)\n" + serve,
			},
		})
		for _, w := range f.untilReady(2).Workers {
			if w.RespawnCount != 0 {
				t.Errorf("%s: worker %d was started %d times", name, w.ID, w.RespawnCount+1)
			}
		}
		f.stop()
	}
}

func TestRootWithoutPtraceMeasuresWorkersOfAnotherUser(t *testing.T) {
	asRoot(t)
	interpreter := python(t, &syscall.Credential{Uid: 65534, Gid: 65534})
	for name, c := range map[string]struct{ flags, command []string }{
		"by --user": {[]string{"--user", "nobody"}, nil},
		"by a command in front": {nil, []string{
			tool(t, "setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := measured(t, contained(t), c.flags, append(c.command, interpreter, "-c", reads+"time.sleep(3600)")...)
			whole(t, f.untilExact(2))
			f.stop()
		})
	}
}

// To look into the child, preforkd becomes its user for a moment, which must not take from it what it needs for others to
// look into preforkd.
func TestTheDataStaysOpenToWorkersWhilePreforkdLooksAsAnotherUser(t *testing.T) {
	asRoot(t)
	count := filepath.Join(place(t), "count")
	setpriv := strconv.Quote(tool(t, "setpriv"))
	f := measured(t, contained(t), []string{"-w", "1"}, python(t, nil), "-c", reads+`
import subprocess
child = subprocess.Popen([`+setpriv+`, "--reuid=65534", "--regid=65534", "--clear-groups", "--pdeathsig=KILL", "sleep", "3600"])
n = 0
while True:
    try:
        f = open(os.environ["PREFORKD_DATA_BLOB"], "rb")
    except PermissionError: # in the microsecond in which preforkd is not dumpable; not twice
        f = open(os.environ["PREFORKD_DATA_BLOB"], "rb")
    with f:
        assert f.read(1)
    n += 1
    with open(`+strconv.Quote(count+".new")+`, "w") as f:
        f.write(str(n))
    os.rename(`+strconv.Quote(count+".new")+`, `+strconv.Quote(count)+`)
    time.sleep(0.001)
`)
	s := f.until("an exact row of two processes", func(s *supervisor.Snapshot) bool {
		return len(s.Workers) == 1 && s.Workers[0].Sample.Exact && len(s.Workers[0].PIDs) == 2
	})
	whole(t, s)
	opened := func() int {
		text, _ := os.ReadFile(count)
		n, _ := strconv.Atoi(string(text))
		return n
	}
	before := opened()
	within(t, patience, "100 more looks at the data", func() bool { return opened() >= before+100 })
	if w := f.untilReady(1).Workers[0]; w.Incarnation != 1 {
		t.Errorf("the worker was restarted: %+v", w)
	}
	f.stop()
}

func TestWhatMayNotBeReadIsNullWithAReason(t *testing.T) {
	asRoot(t)
	const hides = reads + `
import ctypes
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0) # PR_SET_DUMPABLE
time.sleep(3600)
`
	const sleeps = reads + "time.sleep(3600)"
	interpreter := python(t, &syscall.Credential{Uid: 65534, Gid: 65534})
	for name, c := range map[string]struct {
		through []string
		script  string
		reason  string // "": everything is known
		status  bool   // what everybody may read of a process is known
	}{
		"not dumpable":              {contained(t), hides, "not dumpable", true},
		"not dumpable, all of root": {nil, hides, "", true},
		"hidepid":                   {append(hiding(t), contained(t)...), sleeps, "hidepid", false},
		"hidepid, all of root":      {hiding(t), sleeps, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			f := measured(t, c.through, []string{"--user", "nobody"}, interpreter, "-c", c.script)
			if c.reason == "" {
				whole(t, f.untilExact(2))
				f.stop()
				return
			}
			s := f.until("the reason", func(s *supervisor.Snapshot) bool {
				return len(ready(s)) == 2 && strings.Contains(s.Workers[0].Sample.Error, c.reason) &&
					strings.Contains(s.Workers[1].Sample.Error, c.reason)
			})
			for _, w := range s.Workers {
				if !strings.Contains(w.Sample.Error, "give preforkd CAP_SYS_PTRACE") || w.Sample.Exact || w.PSS != nil ||
					w.USS != nil || w.Data[0].RSS != nil || w.Data[0].PSS != nil || w.Data[0].COW != nil {
					t.Errorf("worker %d: %+v", w.ID, w)
				}
				if (w.RSS != nil) != c.status || (w.Private != nil) != c.status || (w.CPUSeconds != nil) != c.status {
					t.Errorf("worker %d: rss %v, private %v, cpu %v", w.ID, w.RSS, w.Private, w.CPUSeconds)
				}
			}
			if m := s.Memory; m.Used != nil || m.Saved != nil || m.Copies != nil || m.PSS != nil || m.Data < readSize {
				t.Errorf("memory: %+v", m)
			}
			f.stop()
		})
	}
}

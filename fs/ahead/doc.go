// Package ahead guesses which files of a directory are opened next. It is pure: names and sizes in, decisions out.
//
// fs calls it at each lookup that needs attributes and at each open for reading, and carries out what it says; it calls
// nobody. What it knows of a directory's names it is told by a func.
//
// Three questions, one memory per directory:
//
//   - Looked: the attributes of a file are in no listing, so a lookup asks the store. Is the file opened next (cat, tar,
//     a loader), then a GET of its first bytes costs no more than a HEAD and saves the GET that would follow; the answer
//     carries the attributes too. Is it only looked at (ls -l), a HEAD moves no bytes.
//   - Looks: files that are looked at one after another and not opened have the attributes of the next ones asked for ahead,
//     many at once.
//   - Opened: files that are opened one after another in the directory's order (cat *, grep -r, tar c) are fetched ahead,
//     many at once. Who opens at random pays nothing.
//
// What it never does: it waits for nothing, starts nothing, keeps no more than a few hundred directories.
package ahead

// Verify a log of ours with the libraries of Go's checksum database alone: go run . FOLDER FACTS
//
// FOLDER is an export of the log with entries; FACTS says in JSON whose signatures to expect and
// which of our proofs to check. It ends with 0 where all of it holds.
package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type inclusion struct {
	Index int64
	Proof [][]byte
}

type consistency struct {
	Old   int64
	Root  []byte
	Proof [][]byte
}

type facts struct {
	Validators  []string // verifier keys
	Cosigner    string   // verifier key of a witness
	Inclusion   []inclusion
	Consistency []consistency
}

func main() {
	if len(os.Args) != 3 {
		fail(errors.New("usage: FOLDER FACTS"))
	}
	var expected facts
	text, err := os.ReadFile(os.Args[2])
	fail(err)
	fail(json.Unmarshal(text, &expected))
	tree := openCheckpoint(os.Args[1], expected)
	reader := tlog.TileHashReader(tree, folder(os.Args[1]))
	checkEntries(os.Args[1], tree, reader)
	checkProofs(expected, tree, reader)
	fmt.Printf("%d entries, %d and %d proofs\n", tree.N, len(expected.Inclusion), len(expected.Consistency))
}

// openCheckpoint returns the tree in a checkpoint that all validators and the witness signed.
func openCheckpoint(path string, expected facts) tlog.Tree {
	var verifiers []note.Verifier
	for _, key := range expected.Validators {
		verifier, err := note.NewVerifier(key)
		fail(err)
		verifiers = append(verifiers, verifier)
	}
	verifiers = append(verifiers, newCosigner(expected.Cosigner))
	text, err := os.ReadFile(filepath.Join(path, "checkpoint"))
	fail(err)
	opened, err := note.Open(text, note.VerifierList(verifiers...))
	fail(err)
	if len(opened.Sigs) != len(verifiers) || len(opened.UnverifiedSigs) != 0 {
		fail(fmt.Errorf("%d signatures hold, of %d", len(opened.Sigs), len(verifiers)))
	}
	lines := strings.Split(opened.Text, "\n")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	fail(err)
	root, err := tlog.ParseHash(lines[2])
	fail(err)
	return tlog.Tree{N: size, Hash: root}
}

// checkEntries proves each entry in the bundles from the tiles.
func checkEntries(path string, tree tlog.Tree, reader tlog.HashReader) {
	for first := int64(0); first < tree.N; first += 256 {
		tile := tlog.Tile{H: 8, L: 0, N: first / 256, W: int(min(256, tree.N-first))}
		name := strings.Replace(filed(tile), "tile/0/", "tile/entries/", 1)
		data, err := os.ReadFile(filepath.Join(path, name))
		fail(err)
		for number := first; number < first+int64(tile.W); number++ {
			length := int(binary.BigEndian.Uint16(data))
			entry := data[2 : 2+length]
			data = data[2+length:]
			proof, err := tlog.ProveRecord(tree.N, number, reader)
			fail(err)
			fail(tlog.CheckRecord(proof, tree.N, tree.Hash, number, tlog.RecordHash(entry)))
		}
		if len(data) != 0 {
			fail(fmt.Errorf("%s: %d bytes too many", name, len(data)))
		}
	}
}

// checkProofs checks our proofs, and that Go makes the same.
func checkProofs(expected facts, tree tlog.Tree, reader tlog.HashReader) {
	for _, one := range expected.Inclusion {
		leaves, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, one.Index)})
		fail(err)
		fail(tlog.CheckRecord(hashes(one.Proof), tree.N, tree.Hash, one.Index, leaves[0]))
		same, err := tlog.ProveRecord(tree.N, one.Index, reader)
		fail(err)
		compare(hashes(one.Proof), same)
	}
	for _, one := range expected.Consistency {
		fail(tlog.CheckTree(hashes(one.Proof), tree.N, tree.Hash, one.Old, tlog.Hash(one.Root)))
		same, err := tlog.ProveTree(tree.N, one.Old, reader)
		fail(err)
		compare(hashes(one.Proof), same)
	}
}

// folder reads tiles from files whose paths are those of C2SP, without Go's height.
type folder string

func (path folder) Height() int { return 8 }

func (path folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range tiles {
		data, err := os.ReadFile(filepath.Join(string(path), filed(tile)))
		if err != nil {
			return nil, err
		}
		found = append(found, data)
	}
	return found, nil
}

func (path folder) SaveTiles([]tlog.Tile, [][]byte) {}

func filed(tile tlog.Tile) string {
	return strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
}

// cosigner verifies cosignature/v1 of c2sp.org/tlog-cosignature.
type cosigner struct {
	name string
	id   uint32
	key  ed25519.PublicKey
}

func newCosigner(text string) cosigner {
	parts := strings.SplitN(text, "+", 3)
	id, err := strconv.ParseUint(parts[1], 16, 32)
	fail(err)
	key, err := base64.StdEncoding.DecodeString(parts[2])
	fail(err)
	if key[0] != 4 || len(key) != 33 {
		fail(errors.New("not the key of a cosigner"))
	}
	return cosigner{parts[0], uint32(id), key[1:]}
}

func (one cosigner) Name() string    { return one.name }
func (one cosigner) KeyHash() uint32 { return one.id }

func (one cosigner) Verify(text, signature []byte) bool {
	if len(signature) != 8+ed25519.SignatureSize {
		return false
	}
	head := fmt.Sprintf("cosignature/v1\ntime %d\n", binary.BigEndian.Uint64(signature))
	return ed25519.Verify(one.key, append([]byte(head), text...), signature[8:])
}

func hashes(proof [][]byte) []tlog.Hash {
	var found []tlog.Hash
	for _, each := range proof {
		found = append(found, tlog.Hash(each))
	}
	return found
}

func compare(ours, theirs []tlog.Hash) {
	if len(ours) != len(theirs) {
		fail(errors.New("a proof of another length"))
	}
	for number := range ours {
		if !bytes.Equal(ours[number][:], theirs[number][:]) {
			fail(errors.New("another proof"))
		}
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

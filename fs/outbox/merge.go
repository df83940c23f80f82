package outbox

// merge is what two changes of one key are together, when the first has not begun; ok is false when they are no single
// change. The result has the first one's Seq and the second one's Time.
//
//	first \ second   put        headers                        delete
//	put              second     first's body, second's headers delete of any version
//	headers          second     second's headers, first's ETag second
//	delete           second     (not one)                      second
//
// A put that is merged into another change replaces what that one would have replaced.
//
// put+delete deletes any version: the one that the delete names is the put's, which the store never had, and the one that
// is there is not known. headers+headers keeps the first one's source: the second may name what the first would have made.
// delete+headers would be headers of an object that somebody else stored meanwhile.
func merge(first, second Op) (together Op, ok bool) {
	together = second
	together.Seq = first.Seq
	if first.After.After(second.After) {
		together.After = first.After
	}
	switch {
	case second.Kind == KindPut:
		together.ETag = first.ETag
		if first.Kind == KindHeaders || first.Kind == KindDelete && first.ETag == "" {
			together.ETag = AnyVersion // new headers make a version of their own
		}
	case first.Kind == KindPut && second.Kind == KindHeaders:
		together.Kind, together.ETag, together.Size, together.Body = KindPut, first.ETag, first.Size, first.Body
	case first.Kind == KindPut && second.Kind == KindDelete:
		together.ETag = ""
	case first.Kind == KindHeaders && second.Kind == KindHeaders:
		together.ETag, together.Size = first.ETag, first.Size
	case first.Kind == KindDelete && second.Kind == KindHeaders:
		return first, false
	}
	return together, true
}

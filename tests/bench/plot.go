package main

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// group is a row of a picture, bar what one of them reached in it: the speed beside the base's, 1 is as fast.
type group struct {
	title string
	bars  []bar
}

type bar struct {
	name  string
	ratio float64
}

// Sizes of the picture, in pixels.
const (
	plotWidth = 920
	labelEnd  = 430 // the titles end here, the axis begins
	axisEnd   = 860 // behind it the figures have room
	barHigh   = 11
	barStep   = barHigh + 2
	groupGap  = 12
	plotTop   = 70
)

// plot draws bars on a logarithmic axis: a mount may be a hundredth as fast as the bare client, or ten times.
func plot(title string, groups []group) string {
	var names []string
	low, high, bars := 0.1, 1.0, 0
	for _, g := range groups {
		bars += len(g.bars)
		for _, b := range g.bars {
			if !slices.Contains(names, b.name) {
				names = append(names, b.name)
			}
			low, high = min(low, b.ratio), max(high, b.ratio)
		}
	}
	from, to := math.Floor(math.Log10(low)), math.Ceil(math.Log10(high))
	at := func(v float64) float64 { return labelEnd + (math.Log10(v)-from)/(to-from)*(axisEnd-labelEnd) }
	end := plotTop + len(groups)*groupGap + bars*barStep
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="sans-serif" font-size="11" fill="#222">
<title>%s</title>
<rect width="100%%" height="100%%" fill="#fff"/>
<text x="12" y="22" font-size="14" font-weight="bold">%[3]s</text>
`, plotWidth, end+28, html.EscapeString(title))
	for i, name := range names {
		fmt.Fprintf(&b, `<rect x="%d" y="36" width="11" height="11" fill="%s"/><text x="%d" y="46">%s</text>`+"\n", 12+i*150, colour(name), 28+i*150, html.EscapeString(name))
	}
	for e := from; e <= to; e++ {
		v := math.Pow(10, e)
		stroke, width := "#ddd", 1
		if e == 0 {
			stroke, width = "#444", 2
		}
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%d" x2="%.1[1]f" y2="%[3]d" stroke="%s" stroke-width="%d"/><text x="%.1[1]f" y="%[6]d" text-anchor="middle">%s</text>`+"\n",
			at(v), plotTop-6, end, stroke, width, end+16, axisLabel(v))
	}
	y := plotTop
	for _, g := range groups {
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", labelEnd-8, y+barHigh-1, html.EscapeString(g.title))
		for _, r := range g.bars {
			x, w := at(min(r.ratio, 1)), math.Abs(at(r.ratio)-at(1))
			fmt.Fprintf(&b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"><title>%s: %s</title></rect><text x="%.1f" y="%d" font-size="10">%s</text>`+"\n",
				x, y, max(w, 1), barHigh, colour(r.name), html.EscapeString(r.name), figure(r.ratio), x+max(w, 1)+4, y+barHigh-1, figure(r.ratio))
			y += barStep
		}
		y += groupGap
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func axisLabel(v float64) string {
	if v == 1 {
		return "as fast"
	}
	return fmt.Sprintf("× %g", v)
}

// colour is a name's in all pictures.
func colour(name string) string {
	switch {
	case strings.HasPrefix(name, "s3fs"):
		return "#d9822b"
	case strings.HasPrefix(name, "rclone"):
		return "#8a8a8a"
	case strings.HasSuffix(name, behindAll):
		return "#7c5fb5"
	case strings.HasSuffix(name, behind):
		return "#7fb3e6"
	}
	return "#1f5fa8"
}

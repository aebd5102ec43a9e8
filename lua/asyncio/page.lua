-- page.lua - the page that a trace is shown on: one HTML file that needs nothing else. What stands before
-- the trace's JSON, and what after it, so that whoever writes it writes through. In the JSON a `<` is \u003c.
--   model    what it knows: rows, what of them is to be seen where, words. No document: specs call it.
--   drawing  the canvas   ·   hands  wheel, fingers, keys, search, what a click shows   ·   style  the looks
local part = function(name) return (require("asyncio.page." .. name)) end

local BEFORE = [==[
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>Trace</title>
<style>
$style</style>
<body>
<header>
  <h1 id="title">Trace</h1>
  <p id="summary"></p>
  <div class="tools">
    <input type="search" id="find" placeholder="Find a task" aria-label="Find tasks by name"
      autocomplete="off" spellcheck="false">
    <span id="found" role="status"></span>
    <button id="nearer" aria-label="Zoom in" title="Zoom in (+)">+</button>
    <button id="farther" aria-label="Zoom out" title="Zoom out (−)">−</button>
    <button id="whole" aria-label="Show the whole trace" title="The whole trace (0)">⤢</button>
    <button id="about" aria-label="The trace in numbers" title="In numbers">≡</button>
    <button id="here" aria-label="Only rows with something in this window" aria-pressed="false"
      title="Only rows with something in this window (w)">▤</button>
    <button id="help" aria-label="Help: keys and what is to be seen" title="Help (?)">?</button>
  </div>
</header>
<ul id="legend" aria-label="Legend"></ul>
<canvas id="map" aria-label="How much runs, over the whole trace; drag to go there" role="img"></canvas>
<div id="scroll"><div id="tall">
  <canvas id="rows" tabindex="0" role="application" aria-describedby="summary"
    aria-label="Timeline, a row for each task. Arrow keys move, plus and minus zoom, comma and dot go along"
  ></canvas>
</div></div>
<aside id="side" aria-label="Details" tabindex="-1"></aside>
<div id="tip" hidden></div>
<div class="unseen" id="said" aria-live="polite"></div>
<noscript>This page draws with JavaScript, all of which it has within itself.</noscript>
<script type="application/json" id="trace">
]==]

local AFTER = [==[
</script>
<script>
"use strict";
$model
$drawing
$hands
start(document.getElementById("trace"));
</script>
</html>
]==]

local function fill(text)
  return (text:gsub("%$(%l+)", function(name) return name == "style" and part "style" or part(name) end))
end

return { before = fill(BEFORE), after = fill(AFTER) }

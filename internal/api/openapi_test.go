// Copyright 2026 The preforkd authors
// SPDX-License-Identifier: Apache-2.0

package api

// docs/openapi.json and docs/stats.schema.json, made with -update: every route of the table, with the schemas of
// schema_test.go. test/openapi_test.go holds a running preforkd to them.

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/invopop/jsonschema"

	"github.com/preforkd/preforkd/internal/api/apitest"
	"github.com/preforkd/preforkd/supervisor"
)

const (
	openAPIFile = "../../docs/openapi.json"
	schemaFile  = "../../docs/stats.schema.json"
	schemaID    = "https://github.com/preforkd/preforkd/docs/stats.schema.json"
)

// object is a JSON object; encoding/json sorts its keys.
type object = map[string]any

// bodyWords tell what the tables of docs/stats.md do not: of the types as such, and of the control socket.
func bodyWords() map[string]string {
	return map[string]string{
		"Snapshot":               "One moment of a fleet and its memory. `null` is a value that is not known, never 0.",
		"Data":                   "One live version of a dataset, or one that is being loaded: its version is 0.",
		"Worker":                 "One live process tree, or a slot without one (`pid` is `null`).",
		"WorkerData":             "What one worker holds of one version that it was handed, mapped or not.",
		"Listener":               "One listening socket, or one for each slot.",
		"Event":                  "Something that happened to the fleet.",
		"History":                "What the fleet held over the last hour, in columns of equal length.",
		"reloadBody":             "What to reload. It may be left out.",
		"reloadBody.Names":       "Datasets to look at; none: the configuration, all data and all workers.",
		"restartBody":            "What to restart. It may be left out.",
		"restartBody.IDs":        "Slots whose workers are replaced; none: all.",
		"scaleBody":              "How many workers there shall be.",
		"scaleBody.Workers":      "Slots from now on.",
		"stopBody":               "How to stop. It may be left out.",
		"stopBody.Quick":         "`true`: as INT does; given twice it kills.",
		"progressLine":           "Every line of an answer to an order but the last.",
		"progressLine.Operation": "What is under way in the instance, perhaps for somebody else; `null`: nothing.",
		"lastLine":               "The last line of an answer to an order.",
		"lastLine.Done":          "Always `true`: it marks the last line.",
		"lastLine.Text":          "A sentence about what was done.",
		"lastLine.Code":          "The exit code of the verb, where the order was not carried out.",
		"lastLine.Error":         "Why it was not.",
	}
}

func components(t *testing.T) jsonschema.Definitions {
	t.Helper()
	all := newSchemer(t).schemas(t,
		reflect.TypeFor[supervisor.Snapshot](), reflect.TypeFor[supervisor.Event](), reflect.TypeFor[History](),
		reflect.TypeFor[reloadBody](), reflect.TypeFor[restartBody](), reflect.TypeFor[scaleBody](), reflect.TypeFor[stopBody](),
		reflect.TypeFor[progressLine](), reflect.TypeFor[lastLine]())
	for _, name := range []string{"ReloadBody", "RestartBody", "StopBody"} {
		all[name].Required = nil // what a client leaves out is the zero value
	}
	workers, _ := all["ScaleBody"].Properties.Get("workers")
	workers.Type, workers.Extras, workers.Minimum = "integer", nil, "1" // a pointer only to tell 0 from nothing
	done, _ := all["LastLine"].Properties.Get("done")
	done.Const = true
	all["End"] = &jsonschema.Schema{
		Type: "object", AdditionalProperties: jsonschema.FalseSchema, Description: "The last message of a stream: preforkd ends.",
	}
	return all
}

func ref(name string) object { return object{"$ref": "#/components/schemas/" + name} }

func content(kind string, schema object) object { return object{kind: object{"schema": schema}} }

func answer200(description string, content object) object {
	return object{"200": object{"description": description, "content": content}}
}

// refusal is an answer that is a sentence for people.
func refusal(description string) object {
	return object{"description": description, "content": content("text/plain", object{"type": "string"})}
}

// with adds the answers that have a sentence: status, description, …
func with(answers object, more ...string) object {
	out := maps.Clone(answers)
	for i := 0; i < len(more); i += 2 {
		out[more[i]] = refusal(more[i+1])
	}
	out["403"] = refusal("Another user on the control socket; an unknown Host on a loopback address; another site's page asks.")
	out["default"] = refusal("What else is wrong, in a sentence.")
	return out
}

// operations describes the routes, by "GET /stats".
func operations() map[string]object {
	text := content("text/plain", object{"type": "string"})
	starting := []string{"503", "preforkd is starting: there is no snapshot yet."}
	parameter := func(name, in, description string) object {
		number := object{"type": "integer", "format": "int64", "minimum": 0}
		return object{"name": name, "in": in, "description": description, "schema": number}
	}
	order := func(id, description, body string, needed bool) object {
		return object{
			"operationId": id, "tags": []string{"orders"}, "description": description,
			"servers":     []object{controlServer()},
			"security":    []object{}, // the kernel tells who asks
			"requestBody": object{"required": needed, "content": content("application/json", ref(body))},
			"responses": with(
				answer200("The order was taken. One JSON object on each line, sent as it happens: ProgressLine, at least every 5 s, "+
					"and at the end LastLine, unless preforkd ends before.", object{
					"application/x-ndjson": object{
						"schema": object{"type": "string"}, "x-item-schema": object{"oneOf": []object{ref("ProgressLine"), ref("LastLine")}},
					},
				}),
				"400", "The body is not what it should be.", "408", "The body did not come in time.",
				"413", "The body is longer than 64 KiB.", "503", "Too many orders are being waited for."),
		}
	}
	return map[string]object{
		"GET /": {
			"operationId": "index", "tags": []string{"views"},
			"description": "The dashboard for who accepts text/html, for everybody else a list of the paths.",
			"responses": with(answer200("A page.", object{
				"text/plain": object{"schema": object{"type": "string"}}, "text/html": object{"schema": object{"type": "string"}},
			})),
		},
		"GET /stats": {
			"operationId": "stats", "tags": []string{"figures"}, "description": "One moment of the fleet and its memory.",
			"responses": with(answer200("The newest snapshot.", content("application/json", ref("Snapshot"))), starting...),
		},
		"GET /history": {
			"operationId": "history", "tags": []string{"figures"}, "description": "The last hour in columns.",
			"responses": with(answer200("The points so far.", content("application/json", ref("History")))),
		},
		"GET /events": {
			"operationId": "events", "tags": []string{"figures"},
			"description": "Server-sent events. `event: event` (with an id) is something that happened, `event: stats` the newest snapshot, " +
				"at least once a second, `event: end` the end of preforkd. `x-events` names the schema of each one's data.",
			"parameters": []object{
				parameter("after", "query", "Only events with a higher number than this."),
				parameter("Last-Event-ID", "header", "The same, as a browser sends it when it connects again; it wins."),
			},
			"responses": with(answer200("A stream that ends with preforkd.", object{
				"text/event-stream": object{
					"schema":   object{"type": "string"},
					"x-events": object{"event": ref("Event"), "stats": ref("Snapshot"), "end": ref("End")},
				},
			}), "400", "`after` is no number.", "503", "Too many streams are open."),
		},
		"GET /metrics": {
			"operationId": "metrics", "tags": []string{"figures"},
			"description": "The same for Prometheus, in the format that the scraper accepts; docs/metrics.md tells the names.",
			"responses": with(answer200("All series.", object{
				"text/plain":                      object{"schema": object{"type": "string"}},
				"application/openmetrics-text":    object{"schema": object{"type": "string"}},
				"application/vnd.google.protobuf": object{"schema": object{"type": "string", "format": "binary"}},
			}), starting...),
		},
		"GET /healthz": {
			"operationId": "healthz", "tags": []string{"probes"}, "description": "For a liveness probe. It needs no password.",
			"security":  []object{},
			"responses": with(answer200("The supervisor's loop answered in the last 5 seconds.", text), "503", "It did not."),
		},
		"GET /readyz": {
			"operationId": "readyz", "tags": []string{"probes"}, "description": "For a readiness probe. It needs no password.",
			"security": []object{},
			"responses": with(answer200("At least one worker is ready and no stop is under way.", text),
				"503", "Not so; the text says why."),
		},
		"GET /openapi.json": {
			"operationId": "openapi", "tags": []string{"views"}, "description": "This description.",
			"responses": with(answer200("OpenAPI 3.1.", content("application/json", object{"type": "object"}))),
		},
		"POST /reload": order("reload", "Takes the configuration and the data anew and replaces the workers; with names looks at "+
			"these datasets only, and replaces nobody when none has changed.", "ReloadBody", false),
		"POST /restart": order("restart", "Replaces workers with the data as it is.", "RestartBody", false),
		"POST /scale":   order("scale", "Sets the number of workers.", "ScaleBody", true),
		"POST /stop": order("stop", "Asks the fleet to stop, and is answered when that was ordered, not when it is done.",
			"StopBody", false),
	}
}

func controlServer() object {
	return object{
		"url":         "http://localhost",
		"description": "The control socket, `<run dir>/control.sock`: HTTP over a unix socket with mode 0600; any host name will do.",
	}
}

// served returns the routes with their lines on the index page, as the control socket tells them.
func served(t *testing.T) map[string]string {
	t.Helper()
	page, err := Dial(serveControl(t, apitest.NewSource(nil), &apitest.Control{})).get(t.Context(), "/")
	if err != nil {
		t.Fatal(err)
	}
	routes := map[string]string{}
	for line := range strings.Lines(string(page)) {
		if words := strings.Fields(line); len(words) > 2 && (words[0] == "GET" || words[0] == "POST") {
			routes[words[0]+" "+words[1]] = strings.Join(words[2:], " ")
		}
	}
	return routes
}

func TestOpenAPIDescribesEveryRoute(t *testing.T) {
	described, paths := operations(), object{}
	there := served(t)
	for route := range there {
		if described[route] == nil {
			t.Errorf("%s is served, but not described", route)
		}
	}
	for route, operation := range described {
		line, ok := there[route]
		if !ok {
			t.Errorf("%s is described, but not on the index page", route)
		}
		method, path, _ := strings.Cut(route, " ")
		if method == "GET" {
			operation["summary"] = line
		}
		if answers := operation["responses"].(object); operation["security"] == nil {
			answers["401"] = refusal("With `--stats-auth`: a user and a password are needed, or they are wrong.")
			answers["429"] = refusal("With `--stats-auth`: too many passwords are being checked.")
		}
		item, ok := paths[path].(object)
		if !ok {
			item = object{}
			paths[path] = item
		}
		item[strings.ToLower(method)] = operation
	}
	golden(t, openAPIFile, encode(t, object{
		"openapi": "3.1.0",
		"info": object{
			"title": "preforkd", "version": "1", // of the schema: supervisor.SchemaVersion
			"license": object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
			"description": "The stats of a fleet and the orders that it takes. Memory is in bytes, time in seconds, moments are RFC 3339. " +
				"A value that is not known is null, never 0. Answers have no field that is not described here; a newer preforkd may " +
				"add some without another version: take the description from the instance that you ask.",
		},
		"servers": []object{
			{
				"url":         "http://{address}",
				"description": "The stats address (`--stats`), read-only: GET and HEAD. https with `--stats-cert`; or a socket, `unix:PATH`.",
				"variables":   object{"address": object{"default": "127.0.0.1:9797"}},
			},
			controlServer(),
		},
		"security": []object{{}, {"basic": []string{}}},
		"tags": []object{
			{"name": "figures", "description": "What the fleet holds and does."},
			{"name": "probes", "description": "For those who start and balance."},
			{"name": "views", "description": "For people and programs that look around."},
			{"name": "orders", "description": "What changes the fleet: on the control socket only."},
		},
		"paths": paths,
		"components": object{
			"schemas": components(t),
			"securitySchemes": object{
				"basic": object{"type": "http", "scheme": "basic", "description": "Where `--stats-auth` is given."},
			},
		},
	}))
}

func TestTheSchemaOfTheStatsIsMadeFromTheCode(t *testing.T) {
	all := newSchemer(t).schemas(t, reflect.TypeFor[supervisor.Snapshot]())
	root := *all["Snapshot"]
	delete(all, "Snapshot")
	root.Version, root.ID, root.Title, root.Definitions = jsonschema.Version, schemaID, "preforkd: /stats", all
	golden(t, schemaFile, strings.ReplaceAll(encode(t, &root), `"#/components/schemas/`, `"#/$defs/`))
}

// encode writes JSON for people, with references as OpenAPI has them.
func encode(t *testing.T, value any) string {
	t.Helper()
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		t.Fatal(err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, b.Bytes(), "", "  "); err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(indented.String(), `"#/$defs/`, `"#/components/schemas/`)
}

// What cannot be null must not be: a slice that is nil is null in JSON.
func TestNoColumnOfTheStatsIsNull(t *testing.T) {
	for name, s := range map[string]*supervisor.Snapshot{
		"rich": apitest.Rich(), "example": apitest.Example(), "loading": apitest.Loading(),
	} {
		lists := []bool{s.Data == nil, s.Workers == nil, s.Listen == nil, s.Supervisor.Command == nil}
		for _, w := range s.Workers {
			lists = append(lists, w.PIDs == nil, w.Data == nil)
		}
		if slices.Contains(lists, true) {
			t.Errorf("the snapshot %s has a list that is nil", name)
		}
	}
}

// History mirrors what /history answers with.
type History struct {
	Interval       float64  `json:"interval"`
	At             []int64  `json:"at"`
	Used           []*int64 `json:"used"`
	Saved          []*int64 `json:"saved"`
	WithoutSharing []*int64 `json:"without_sharing"`
	Data           []int64  `json:"data"`
	RSS            []*int64 `json:"rss"`
	Private        []*int64 `json:"private"`
	Ready          []int64  `json:"ready"`
	Workers        []int64  `json:"workers"`
}

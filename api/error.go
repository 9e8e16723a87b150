package api

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
)

// Code is the stable name of a kind of error. Programs match on it; it never changes its meaning.
type Code string

// The codes. Each has its HTTP status in [Code.Status].
const (
	CodeInvalidArgument       Code = "invalid_argument"
	CodeInvalidName           Code = "invalid_name"
	CodeInvalidSpec           Code = "invalid_spec"
	CodeInvalidResources      Code = "invalid_resources"
	CodeUnknownField          Code = "unknown_field"
	CodeTooLarge              Code = "too_large"
	CodeInvalidModule         Code = "invalid_module"
	CodeComponentNotSupported Code = "component_not_supported"
	CodeUnsupportedFeature    Code = "unsupported_feature"
	CodeUnknownImport         Code = "unknown_import"
	CodeNoEntryPoint          Code = "no_entry_point"
	CodeLimitExceeded         Code = "limit_exceeded"
	CodeNotFound              Code = "not_found"
	CodeModuleNotFound        Code = "module_not_found"
	CodeAmbiguous             Code = "ambiguous"
	CodeConflict              Code = "conflict"
	CodeInUse                 Code = "in_use"
	CodeMethodNotAllowed      Code = "method_not_allowed"
	CodeDigestMismatch        Code = "digest_mismatch"
	CodeNoLeader              Code = "no_leader"
	CodeUnknownOutcome        Code = "unknown_outcome"
	CodeOverloaded            Code = "overloaded"
	CodeUnreachable           Code = "unreachable"
	CodeLogsGone              Code = "logs_gone"
	CodeTimeout               Code = "timeout"
	CodeUnavailable           Code = "unavailable"
	CodeNoSpace               Code = "no_space"
	CodeInternal              Code = "internal"
	CodeInterpreterNotAllowed Code = "interpreter_not_allowed"
	CodeNotAllowed            Code = "not_allowed"
)

var statuses = map[Code]int{
	CodeInvalidArgument: http.StatusBadRequest, CodeInvalidName: http.StatusBadRequest, CodeInvalidSpec: http.StatusBadRequest,
	CodeInvalidResources: http.StatusBadRequest, CodeUnknownField: http.StatusBadRequest, CodeTooLarge: http.StatusRequestEntityTooLarge,
	CodeInvalidModule: http.StatusUnprocessableEntity, CodeComponentNotSupported: http.StatusUnprocessableEntity,
	CodeUnsupportedFeature: http.StatusUnprocessableEntity, CodeUnknownImport: http.StatusUnprocessableEntity,
	CodeNoEntryPoint: http.StatusUnprocessableEntity, CodeLimitExceeded: http.StatusUnprocessableEntity,
	CodeNotFound: http.StatusNotFound, CodeModuleNotFound: http.StatusNotFound, CodeAmbiguous: http.StatusConflict,
	CodeConflict: http.StatusConflict, CodeInUse: http.StatusConflict, CodeMethodNotAllowed: http.StatusMethodNotAllowed,
	CodeDigestMismatch: http.StatusUnprocessableEntity, CodeNoLeader: http.StatusServiceUnavailable,
	CodeUnknownOutcome: http.StatusServiceUnavailable, CodeOverloaded: http.StatusTooManyRequests,
	CodeUnreachable: http.StatusBadGateway, CodeLogsGone: http.StatusGone, CodeTimeout: http.StatusGatewayTimeout,
	CodeUnavailable: http.StatusServiceUnavailable, CodeNoSpace: http.StatusInsufficientStorage, CodeInternal: http.StatusInternalServerError,
	CodeInterpreterNotAllowed: http.StatusConflict, CodeNotAllowed: http.StatusForbidden,
}

// Status is the HTTP status that carries the code.
func (c Code) Status() int {
	if s, ok := statuses[c]; ok {
		return s
	}
	return http.StatusInternalServerError
}

// Codes lists every code with its HTTP status; the map is a copy.
func Codes() map[Code]int {
	m := make(map[Code]int, len(statuses))
	maps.Copy(m, statuses)
	return m
}

// Error is what people and programs are told: what went wrong and why (Message), and what to do next (Hint).
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// Errorf makes an error of the given code.
func Errorf(c Code, format string, args ...any) *Error {
	return &Error{Code: c, Message: fmt.Sprintf(format, args...)}
}

// WithHint gives a copy of e with the hint.
func (e *Error) WithHint(format string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, args...)
	return &c
}

// Error implements error: the message alone, since code and hint are shown beside it.
func (e *Error) Error() string { return e.Message }

// Is makes errors of the same code match each other.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// AsError finds the [Error] in err's chain, or wraps err as an internal one. It gives nil for nil.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		if msg := err.Error(); msg != e.Message {
			c := *e
			c.Message = msg
			return &c
		}
		return e
	}
	return Errorf(CodeInternal, "%v", err)
}

// ErrorBody is the JSON body of every failed request: {"error":{"code","message","hint"}}.
type ErrorBody struct {
	Error *Error `json:"error"`
}

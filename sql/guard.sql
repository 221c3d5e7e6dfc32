\echo Use "CREATE EXTENSION reflex" to load this file. \quit

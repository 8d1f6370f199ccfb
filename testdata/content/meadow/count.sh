#!/bin/sh
ls | wc -l

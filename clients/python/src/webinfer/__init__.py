"""Client of webinfer, a gRPC inference server whose accelerators are web browsers.

The messages and stubs are in `webinfer.v1`, one module for each file of the API: `inference_pb2` and
`inference_pb2_grpc`, `model_pb2` and `model_pb2_grpc`, and so on.
"""

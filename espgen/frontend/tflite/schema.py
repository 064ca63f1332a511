"""The tables of a .tflite file that espgen reads, in the notation of frontend/flatbuffer.py, and the names of its numbers."""

from __future__ import annotations

from collections.abc import Mapping

IDENTIFIER = b"TFL3"
"""Bytes 4 to 7 of every .tflite file."""

VERSION = 3

TABLES: Mapping[str, str] = {
    "Model": "version:u32 operator_codes:[OperatorCode] subgraphs:[SubGraph] description:string buffers:[Buffer]",
    "OperatorCode": "byte_code:i8 custom_code:string version:i32=1 code:i32",
    "SubGraph": "tensors:[Tensor] inputs:[i32] outputs:[i32] operators:[Operator] name:string",
    "Tensor": "shape:[i32] type:i8 buffer:u32 name:string quantization:Quantization is_variable:bool sparsity:Sparsity "
    "shape_signature:[i32]",
    "Quantization": "min:[f32] max:[f32] scale:[f32] zero_point:[i64] details_kind:u8 details:any axis:i32",
    "Sparsity": "traversal_order:[i32]",
    "Operator": "opcode:u32 inputs:[i32] outputs:[i32] options_kind:u8 options:any custom:[u8] custom_format:i8 "
    "mutating:[bool] intermediates:[i32] large_offset:u64 large_size:u64 options2_kind:u8 options2:any",
    "Buffer": "data:[u8] offset:u64 size:u64",
    # What operators are told.
    "Conv2D": "padding:i8 stride_w:i32 stride_h:i32 activation:i8 dilation_w:i32=1 dilation_h:i32=1",
    "DepthwiseConv2D": "padding:i8 stride_w:i32 stride_h:i32 multiplier:i32 activation:i8 dilation_w:i32=1 dilation_h:i32=1",
    "TransposeConv": "padding:i8 stride_w:i32 stride_h:i32 activation:i8",
    "Pool2D": "padding:i8 stride_w:i32 stride_h:i32 filter_w:i32 filter_h:i32 activation:i8",
    "FullyConnected": "activation:i8 weights_format:i8 keep_num_dims:bool",
    "BatchMatMul": "adj_x:bool adj_y:bool",
    "Activated": "activation:i8",
    "Softmax": "beta:f32",
    "Concatenation": "axis:i32 activation:i8",
    "Reshape": "new_shape:[i32]",
    "Gather": "axis:i32 batch_dims:i32",
    "Reducer": "keep_dims:bool",
    "Squeeze": "squeeze_dims:[i32]",
    "Split": "num_splits:i32",
    "StridedSlice": "begin_mask:i32 end_mask:i32 ellipsis_mask:i32 new_axis_mask:i32 shrink_axis_mask:i32 offset:bool",
    "Pack": "values_count:i32 axis:i32",
    "Unpack": "num:i32 axis:i32",
    "LeakyRelu": "alpha:f32",
    "MirrorPad": "mode:i8",
    "ResizeBilinear": "new_height:i32 new_width:i32 align_corners:bool half_pixel_centers:bool",
    "ResizeNearest": "align_corners:bool half_pixel_centers:bool",
    "BlockSize": "block_size:i32",
    "Gelu": "approximate:bool",
    "Cast": "from:i8 to:i8",
    "Composite": "name:string decomposition:i32",
}

OPTIONS: Mapping[str, tuple[int, str]] = {
    "ADD": (11, "Activated"), "AVERAGE_POOL_2D": (5, "Pool2D"), "BATCH_MATMUL": (101, "BatchMatMul"), "CAST": (37, "Cast"),
    "CONCATENATION": (10, "Concatenation"), "CONV_2D": (1, "Conv2D"), "DEPTHWISE_CONV_2D": (2, "DepthwiseConv2D"),
    "DEPTH_TO_SPACE": (94, "BlockSize"), "DIV": (29, "Activated"), "FULLY_CONNECTED": (8, "FullyConnected"),
    "GATHER": (23, "Gather"), "GELU": (116, "Gelu"), "LEAKY_RELU": (75, "LeakyRelu"), "MAX_POOL_2D": (5, "Pool2D"),
    "MEAN": (27, "Reducer"), "MIRROR_PAD": (77, "MirrorPad"), "MUL": (21, "Activated"), "PACK": (59, "Pack"),
    "REDUCE_MAX": (27, "Reducer"), "REDUCE_MIN": (27, "Reducer"), "RESHAPE": (17, "Reshape"),
    "RESIZE_BILINEAR": (15, "ResizeBilinear"), "RESIZE_NEAREST_NEIGHBOR": (74, "ResizeNearest"), "SOFTMAX": (9, "Softmax"),
    "SPACE_TO_DEPTH": (19, "BlockSize"), "SPLIT": (35, "Split"), "SQUEEZE": (30, "Squeeze"),
    "STRIDED_SLICE": (32, "StridedSlice"), "SUB": (28, "Activated"), "SUM": (27, "Reducer"),
    "TRANSPOSE_CONV": (49, "TransposeConv"), "UNPACK": (64, "Unpack"),
}  # fmt: skip
"""Operator -> the number that its options have in the union of all options, and their table here."""

OPTIONS_2: Mapping[str, tuple[int, str]] = {"STABLEHLO_COMPOSITE": (21, "Composite")}
"""The same for the second union, where later operators have their options."""

_CODES = """
0 ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE EMBEDDING_LOOKUP FLOOR FULLY_CONNECTED
10 HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU
20 RELU_N1_TO_1 RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH CONCAT_EMBEDDINGS
30 SKIP_GRAM CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER
37 BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND TRANSPOSE
40 MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT
50 LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST PRELU MAXIMUM ARG_MAX MINIMUM LESS NEG
60 PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN TRANSPOSE_CONV SPARSE_TO_DENSE TILE
70 EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW ARG_MIN
80 FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK REDUCE_MIN
90 FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR LEAKY_RELU SQUARED_DIFFERENCE
100 MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N GATHER_ND COS WHERE
110 RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE
120 NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM BATCH_MATMUL
128 CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D
136 HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE ASSIGN_VARIABLE
150 GELU DYNAMIC_UPDATE_SLICE RELU_0_TO_1
156 ATAN2
158 SIGN
206 STABLEHLO_COMPOSITE
"""

CODES: Mapping[int, str] = {
    int(start) + index: name
    for start, *names in (line.split() for line in _CODES.strip().splitlines())
    for index, name in enumerate(names)
}
"""Number of a built-in operator -> its name."""

TYPES: Mapping[int, str] = {
    0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 5: "string", 6: "bool", 7: "int16", 8: "complex64", 9: "int8",
    10: "float64", 11: "complex128", 12: "uint64", 13: "resource", 14: "variant", 15: "uint32", 16: "uint16", 17: "int4",
    18: "bfloat16", 19: "int2",
}  # fmt: skip
"""Number of an element type -> numpy's name for it, or the maker's."""

ACTIVATIONS: Mapping[int, str] = {0: "", 1: "RELU", 2: "RELU_N1_TO_1", 3: "RELU6", 4: "TANH", 5: "SIGN_BIT"}
"""Number of a fused activation -> its name."""

SAME, VALID = 0, 1
BLOCKWISE = 2
"""Kind of quantization details that means one scale per block of weights."""
